//! The connector: opens connections to AWS.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::Trust;

/// Time limit for a connection, TLS included. Within a region a healthy endpoint accepts one in
/// milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A connector that uses TLS unless the URL of the endpoint is `http://`.
#[derive(Debug, Clone)]
pub(super) struct Connector(HttpsConnector<HttpConnector>);

/// The connection did not open within the time limit.
#[derive(Debug, thiserror::Error)]
#[error("the connection did not open within {} s", CONNECT_TIMEOUT.as_secs())]
pub(super) struct ConnectTimeout;

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

impl Connector {
    pub(super) fn new(trust: &Trust) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let tls = HttpsConnectorBuilder::new().with_tls_config((*trust.0).clone());
        Self(tls.https_or_http().enable_http1().wrap_connector(tcp))
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(
            async move { timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| ConnectTimeout)? },
        )
    }
}
