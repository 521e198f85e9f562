//! The vault as S3 shows it to a browser: with the bucket's own CORS rules, which the AWS stand-in stores and
//! does not apply.

use std::sync::Arc;

use aws_sdk_s3::types::CorsRule;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderName, ORIGIN,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use local_stack::remote::RemoteHost;

use crate::scenario::Scenario;

/// The stand-in, and the rules of the scenario's bucket.
struct Vault {
    endpoint: String,
    rules: Vec<CorsRule>,
}

/// Starts a server that stands before the stand-in.
pub(super) async fn vault(s: &Scenario) -> RemoteHost {
    // An error means that the bucket has no rules.
    let rules = s.s3.get_bucket_cors().bucket(s.bucket()).send().await.ok();
    let rules = rules.and_then(|answer| answer.cors_rules).unwrap_or_default();
    let vault = Arc::new(Vault { endpoint: s.stack.endpoint().to_owned(), rules });
    RemoteHost::with_routes(Router::new().route("/{*key}", any(answer)).with_state(vault)).unwrap()
}

async fn answer(State(vault): State<Arc<Vault>>, request: Request) -> Response {
    let permission = vault.permission(request.method(), request.headers());
    if request.method() == Method::OPTIONS {
        let status = if permission.is_some() { StatusCode::OK } else { StatusCode::FORBIDDEN };
        return (status, permission.unwrap_or_default()).into_response();
    }
    let url = format!("{}{}", vault.endpoint, request.uri());
    // The signature covers the header Host.
    let forwarded = local_stack::http::client().unwrap().request(request.method().clone(), url);
    let response = forwarded.headers(request.headers().clone()).send().await.unwrap();
    let (status, mut headers) = (response.status(), response.headers().clone());
    for (name, _) in response.headers() {
        if name.as_str().starts_with("access-control-") {
            headers.remove(name);
        }
    }
    headers.extend(permission.unwrap_or_default());
    (status, headers, Body::from(response.bytes().await.unwrap())).into_response()
}

impl Vault {
    /// Returns the headers of the first rule that permits the request, as
    /// [S3 evaluates rules](https://docs.aws.amazon.com/AmazonS3/latest/userguide/cors.html).
    fn permission(&self, method: &Method, headers: &HeaderMap) -> Option<HeaderMap> {
        let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let origin = header(ORIGIN)?;
        let method = header(ACCESS_CONTROL_REQUEST_METHOD).unwrap_or(method.as_str());
        let wanted = header(ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let rule = self.rules.iter().find(|rule| {
            let known =
                |name: &str| rule.allowed_headers().iter().any(|it| it.eq_ignore_ascii_case(name));
            rule.allowed_origins().iter().any(|pattern| matches(pattern, origin))
                && rule.allowed_methods().iter().any(|allowed| allowed == method)
                && wanted.split(',').map(str::trim).all(|name| name.is_empty() || known(name))
        })?;
        let permission = [
            (ACCESS_CONTROL_ALLOW_ORIGIN, origin.to_owned()),
            (ACCESS_CONTROL_ALLOW_METHODS, rule.allowed_methods().join(", ")),
            (ACCESS_CONTROL_ALLOW_HEADERS, wanted.to_owned()),
            (ACCESS_CONTROL_EXPOSE_HEADERS, rule.expose_headers().join(", ")),
        ];
        let value = |text: String| HeaderValue::try_from(text).unwrap();
        Some(permission.into_iter().map(|(name, text)| (name, value(text))).collect())
    }
}

/// Whether a pattern with at most one asterisk matches.
fn matches(pattern: &str, origin: &str) -> bool {
    let Some((begin, end)) = pattern.split_once('*') else { return pattern == origin };
    origin.len() >= begin.len() + end.len() && origin.starts_with(begin) && origin.ends_with(end)
}
