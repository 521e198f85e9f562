//! The HTTP client of the AWS clients, and of the collector of traces.
//!
//! The SDK's own client is also built on hyper, but does not expose two settings that decide about
//! the memory and the start of a function: how much of a body hyper reads ahead on each connection,
//! and the trusted certificates, which it reads from disk at every cold start.

use std::error::Error;
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode, Uri};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use super::Trust;
use super::connect::{ConnectTimeout, Connector};

/// Maximum that hyper reads ahead of the reader of a body, in bytes per connection. Its default is
/// 408 KiB. The buffer of a connection grows up to it while a large body is read (`gradual`).
const MAX_READ_AHEAD: usize = 64 * 1024;
/// Maximum idle time after which a connection is reused. Lambda freezes an instance between
/// invocations, and network devices drop its connections without notice.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// An HTTP client with its own connections.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client<Connector, Body>,
}

/// The body of a request. Boxed to keep requests small: each connection allocates a queue for 32
/// requests (the block size of tokio's channels), and there are a hundred connections.
type Body = UnsyncBoxBody<Bytes, BoxError>;

impl Http {
    /// Creates a client that reuses its connections.
    pub(super) fn pooled(connector: Connector) -> Self {
        Self::new(Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE_TIMEOUT), connector)
    }

    /// Creates a client that opens a connection for every request.
    pub(super) fn unpooled(connector: Connector) -> Self {
        Self::new(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0), connector)
    }

    /// Creates a client that opens a connection for every request, with this trust.
    pub(crate) fn of_new_connections(trust: &Trust) -> Self {
        Self::unpooled(Connector::new(trust))
    }

    /// Sends a POST request. Returns the status of the response, whose body is not read, or an error if
    /// there is no response.
    ///
    /// Boxed: an `async fn` would be compiled in the function's crate, with another copy of hyper's client.
    pub(crate) fn post(
        &self,
        url: Uri,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> BoxFuture<'static, Result<StatusCode, BoxError>> {
        let request = Request::post(url).header(CONTENT_TYPE, content_type);
        let request = request.body(SdkBody::from(body).boxed_unsync());
        let sent = request.map(|request| self.client.request(request));
        Box::pin(async move { Ok(sent?.await?.status()) })
    }

    fn new(builder: &mut Builder, connector: Connector) -> Self {
        builder.pool_timer(TokioTimer::new()).http1_max_buf_size(MAX_READ_AHEAD);
        Self { client: builder.build(connector) }
    }
}

impl HttpClient for Http {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(OperationConnector {
            client: self.client.clone(),
            read_timeout: settings.read_timeout(),
        })
    }
}

/// The client with the time limit of an operation.
#[derive(Debug)]
struct OperationConnector {
    client: Client<Connector, Body>,
    /// Time limit for the head of a response.
    read_timeout: Option<Duration>,
}

impl HttpConnector for OperationConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        let connection = capture_connection(&mut request);
        if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
            capture.set_connection_retriever(move || connection_metadata(&connection));
        }
        let (response, limit) =
            (self.client.request(request.map(SdkBody::boxed_unsync)), self.read_timeout);
        HttpConnectorFuture::new(async move {
            let response = match limit {
                Some(limit) => timeout(limit, response)
                    .await
                    .map_err(|late| ConnectorError::timeout(late.into()))?,
                None => response.await,
            };
            let response = response.map_err(|error| classify(Box::new(error)))?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Returns the connection of a request, so that the SDK can exclude it from reuse after a server
/// error.
fn connection_metadata(capture: &CaptureConnection) -> Option<ConnectionMetadata> {
    capture.connection_metadata().as_ref()?;
    let capture = capture.clone();
    let poison = move || {
        if let Some(connection) = capture.connection_metadata().as_ref() {
            connection.poison();
        }
    };
    Some(ConnectionMetadata::builder().proxied(false).poison_fn(poison).build())
}

/// Classifies an error for the SDK, which decides by the class whether to retry.
fn classify(error: BoxError) -> ConnectorError {
    if find_cause::<ConnectTimeout>(&*error).is_some() {
        return ConnectorError::timeout(error);
    }
    if let Some(hyper) = find_cause::<hyper::Error>(&*error) {
        if hyper.is_timeout() {
            return ConnectorError::timeout(error);
        }
        if hyper.is_user() {
            return ConnectorError::user(error);
        }
        // S3 may close a connection between two requests; the SDK retries such a request.
        if hyper.is_incomplete_message() {
            return ConnectorError::other(error, Some(ErrorKind::TransientError));
        }
    }
    // The connection failed to open, or it broke.
    ConnectorError::io(error)
}

/// Returns the first `T` among an error and its causes.
fn find_cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
