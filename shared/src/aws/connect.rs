//! The connector: opens connections to AWS, some of them before a request needs them.

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
use tokio_util::task::AbortOnDropHandle;
use tower_service::Service;

use super::early::Early;
use super::gradual::Gradual;
use super::resolve::Resolver;
use super::{READ_TIMEOUT, Trust};

/// Time limit for a connection, TLS included. Within a region a healthy endpoint accepts one in
/// milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A connector that uses TLS unless the URL of the endpoint is `http://`. Cloning is cheap and shares the early
/// connections.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    https: HttpsConnector<HttpConnector<Resolver>>,
    early: Early<TlsOrTcp>,
}

/// The connection did not open within the time limit.
#[derive(Debug, thiserror::Error)]
#[error("the connection did not open within {} s", CONNECT_TIMEOUT.as_secs())]
pub(super) struct ConnectTimeout;

type TlsOrTcp = MaybeHttpsStream<TokioIo<TcpStream>>;

impl Connector {
    pub(super) fn new(trust: &Trust) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver::default());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // hyper writes what it has before it closes a connection, also that of a cancelled request. If the server reads
        // nothing, the connection keeps the bytes of a part, up to 28 MiB, until the kernel gives it up: without
        // this limit after 15 minutes, or never while the server acknowledges ("tcp", Linux man-pages).
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(READ_TIMEOUT));
        let tls = HttpsConnectorBuilder::new().with_tls_config((*trust.0).clone());
        let https = tls.https_or_http().enable_http1().wrap_connector(tcp);
        Self { https, early: Early::default() }
    }

    /// Opens `count` connections to the origin of `url`, for the requests that need one next.
    pub(super) fn open_early(&self, url: &Uri, count: usize) {
        for _ in 0..count {
            let connecting = tokio::spawn(self.clone().connect(url.clone()));
            self.early.add(url.clone(), AbortOnDropHandle::new(connecting));
        }
    }

    /// Closes the early connections that no request uses.
    pub(super) fn close_early(&self) {
        self.early.clear();
    }

    fn connect(
        mut self,
        url: Uri,
    ) -> impl Future<Output = Result<TlsOrTcp, BoxError>> + Send + 'static {
        let connecting = self.https.call(url);
        async move { timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| ConnectTimeout)? }
    }
}

impl Service<Uri> for Connector {
    type Response = Gradual<TlsOrTcp>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (early, connecting) = (self.early.take(&uri), self.clone().connect(uri));
        Box::pin(async move {
            if let Some(early) = early
                && let Ok(Ok(stream)) = early.await
            {
                return Ok(Gradual::new(stream));
            }
            connecting.await.map(Gradual::new)
        })
    }
}
