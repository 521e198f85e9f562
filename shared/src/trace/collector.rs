//! The collector: it receives spans by HTTP.

use http::Uri;
use http::uri::PathAndQuery;

use crate::aws::{Http, Trust};
use crate::failure::chain;

/// The path for traces (OpenTelemetry Protocol, "OTLP/HTTP Request").
const PATH: &str = "/v1/traces";

/// The URL to which spans are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Uri);

/// A collector. Cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Collector {
    http: Http,
    url: Uri,
}

impl Endpoint {
    /// Parses the base URL of a collector, such as `http://localhost:4318`. Returns `None` if it is not an
    /// `http` or `https` URL without credentials and without a query.
    #[must_use]
    pub fn parse(base_url: &str) -> Option<Self> {
        let base: Uri = base_url.parse().ok()?;
        let is_http = matches!(base.scheme_str(), Some("http" | "https"));
        let is_plain =
            !base_url.contains(['?', '#', '@']) && base.host().is_some_and(|it| !it.is_empty());
        let path = format!("{}{PATH}", base.path().trim_end_matches('/'));
        let mut parts = base.into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
        Uri::from_parts(parts).ok().filter(|_| is_http && is_plain).map(Self)
    }
}

impl Collector {
    pub(super) fn new(endpoint: Endpoint, trust: &Trust) -> Self {
        // Lambda freezes the function between two invocations, and a kept connection may be dead afterwards.
        Self { http: Http::of_new_connections(trust), url: endpoint.0 }
    }

    /// Sends a request, and reads the status of the response only. A redirect is an error. Spans are not worth
    /// a second try, for which the artist's message would wait.
    pub(super) async fn send(&self, body: Vec<u8>) -> Result<(), String> {
        let sent = self.http.post(self.url.clone(), "application/json", body).await;
        match sent.map_err(|error| chain(&*error))? {
            status if status.is_success() => Ok(()),
            status => Err(format!("the collector returned {}", status.as_u16())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn an_endpoint_is_a_plain_url() {
        let url = |text| Endpoint::parse(text).map(|endpoint| endpoint.0.to_string());
        for (base, expected) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://collector.example/otlp/", "https://collector.example/otlp/v1/traces"),
            ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(url(base).as_deref(), Some(expected), "{base}");
        }
        for base in [
            "localhost:4318",
            "/v1/traces",
            "grpc://localhost:4317",
            "http://user:password@localhost:4318",
            "http://localhost:4318?token=x",
            "http://localhost:4318#x",
            "http://",
            "http://a b",
            "",
        ] {
            assert_eq!(url(base), None, "{base}");
        }
    }
}
