//! Where the requests for a bucket go, and how they are signed: asked of the SDK once.
//!
//! A dry run of the SDK's `GetObject`, which ends before anything is sent, yields the URL, the scope
//! of the signature, the HTTP client, and the source of credentials. So path style, virtual hosts,
//! FIPS, dual-stack, access points and custom endpoints are what the SDK makes of them.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use aws_runtime::auth::sigv4::SCHEME_ID;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::AuthScheme;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::identity::{
    Identity, ResolveCachedIdentity, SharedIdentityResolver,
};
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::timeout::TimeoutConfig;

use super::Error;
use super::governor::{Governor, Kind};

/// The key of the dry run.
const PROBE: &str = "k";

/// The destination of the requests for a bucket.
pub(super) struct Route {
    /// The bucket.
    pub(super) bucket: String,
    /// The URL of the bucket, without a trailing slash.
    pub(super) url: String,
    /// The position in `url` where the path starts. The path may be empty.
    pub(super) path_at: usize,
    /// The value of the header `host`.
    pub(super) host: String,
    /// The region of the signature.
    pub(super) region: String,
    /// The service of the signature.
    pub(super) service: String,
    /// Sends requests.
    pub(super) connector: SharedHttpConnector,
    /// The rates of requests.
    pub(super) governor: Governor,
    components: RuntimeComponents,
    identity: SharedIdentityResolver,
    /// The configuration with which the cache of credentials is asked: the default one.
    config: ConfigBag,
}

impl Route {
    /// Derives the route of `bucket` from the SDK's client.
    pub(super) async fn resolve(sdk: &aws_sdk_s3::Client, bucket: &str) -> Result<Self, Error> {
        let probe = Probe::default();
        let request = sdk.get_object().bucket(bucket).key(PROBE).customize();
        let stopped = Box::pin(request.interceptor(probe.clone()).send()).await;
        let seen = probe.seen.get().ok_or_else(|| match stopped {
            Err(error) => Error::setup(DisplayErrorContext(error).to_string()),
            Ok(_) => Error::setup("the SDK sent no request".to_owned()),
        })?;
        Self::of(seen, bucket).map_err(Error::setup)
    }

    fn of(seen: &Seen, bucket: &str) -> Result<Self, String> {
        let unsupported = |what: &str| format!("the endpoint of {bucket} {what}");
        let url = seen.url.split('?').next().and_then(|url| url.strip_suffix(PROBE));
        let url = url.and_then(|url| url.strip_suffix('/')).unwrap_or_default();
        let host_at = url.find("://").map(|at| at + 3).ok_or_else(|| unsupported("has no URL"))?;
        let host_end = url[host_at..].find('/').map_or(url.len(), |length| host_at + length);
        let authority = &url[host_at..host_end];
        // Clients omit the default port in the header, which is signed.
        let default_port = if url.starts_with("https:") { ":443" } else { ":80" };
        let host = authority.strip_suffix(default_port).unwrap_or(authority);
        let scope = seen.authorization.strip_prefix("AWS4-HMAC-SHA256 Credential=");
        let scope = scope.and_then(|rest| rest.split(',').next()).unwrap_or_default();
        let mut scope = scope.rsplit('/').skip(1);
        let (Some(service), Some(region)) = (scope.next(), scope.next()) else {
            return Err(unsupported("needs another signature than AWS Signature Version 4"));
        };
        if seen.has_session_auth {
            return Err(unsupported("needs the session authentication of S3 Express One Zone"));
        }
        let components = seen.components.clone();
        let client = components.http_client().ok_or_else(|| unsupported("has no HTTP client"))?;
        let scheme = components.auth_scheme(SCHEME_ID);
        let identity = scheme.and_then(|scheme| scheme.identity_resolver(&components));
        Ok(Self {
            bucket: bucket.to_owned(),
            url: url.to_owned(),
            path_at: host_end,
            host: host.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            connector: client.http_connector(&seen.settings, &components),
            governor: Governor::new(),
            identity: identity.ok_or_else(|| unsupported("has no credentials"))?,
            components,
            config: ConfigBag::base(),
        })
    }

    /// Returns credentials from the SDK's cache, which refreshes them before they expire.
    pub(super) async fn credentials(&self) -> Result<Identity, Error> {
        let cache = self.components.identity_cache();
        let resolver = self.identity.clone();
        let identity = cache.resolve_cached_identity(resolver, &self.components, &self.config);
        identity.await.map_err(|error| {
            Error::setup(format!("no credentials: {}", DisplayErrorContext(&*error)))
        })
    }

    /// Adapts the rate of requests to an error.
    pub(super) fn observe(&self, kind: Kind, error: &Error) {
        if error.is_throttling() || error.status() == Some(503) {
            self.governor.throttled(kind);
        }
    }

    /// Returns the time according to the SDK.
    pub(super) fn now(&self) -> SystemTime {
        self.components.time_source().unwrap_or_default().now()
    }
}

/// Ends the dry run before it is sent.
#[derive(Clone, Default)]
struct Probe {
    seen: Arc<OnceLock<Seen>>,
}

/// What the dry run would have sent.
struct Seen {
    url: String,
    authorization: String,
    has_session_auth: bool,
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
}

impl Intercept for Probe {
    fn name(&self) -> &'static str {
        "Probe"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let (request, limits) = (context.request(), config.load::<TimeoutConfig>());
        let mut settings = HttpConnectorSettings::builder();
        settings
            .set_connect_timeout(limits.and_then(TimeoutConfig::connect_timeout))
            .set_read_timeout(limits.and_then(TimeoutConfig::read_timeout));
        let authorization = request.headers().get("authorization").unwrap_or_default();
        self.seen.get_or_init(|| Seen {
            url: request.uri().to_owned(),
            authorization: authorization.to_owned(),
            has_session_auth: request.headers().contains_key("x-amz-s3session-token"),
            settings: settings.build(),
            components: components.clone(),
        });
        Err("a dry run".into())
    }
}

impl fmt::Debug for Probe {
    /// Omits the request, which is signed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probe")
    }
}
