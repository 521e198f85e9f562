//! The HTTP client below the AWS clients.
//!
//! The SDK brings one, on hyper like this one, that keeps to itself what decides about memory and
//! about the start of a function: how much of a body hyper reads ahead on each connection, and whose
//! certificates are trusted, which it would read from the disk at every cold start.

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
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use super::connect::{Connector, TookTooLong};

/// The most that hyper reads ahead of a body's reader on one connection, in bytes. By itself it
/// would go up to 408 KiB, and many bodies are open at once.
const READ_AHEAD: usize = 16 * 1024;
/// Longest idleness after which a connection is used again. Lambda freezes an instance between
/// invocations, and what lies between drops its connections without a word.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// A client with connections of its own.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client<Connector, Body>,
}

/// A request's body. Boxed: each connection has a queue with room for 32 requests (tokio's channels), and
/// what lies in them lies there a hundred times.
type Body = UnsyncBoxBody<Bytes, BoxError>;

impl Http {
    /// A client that uses its connections again.
    pub(super) fn pooled(connector: Connector) -> Self {
        Self::new(Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE_TIMEOUT), connector)
    }

    /// A client that opens a connection for every request.
    pub(super) fn unpooled(connector: Connector) -> Self {
        Self::new(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0), connector)
    }

    fn new(builder: &mut Builder, connector: Connector) -> Self {
        builder.pool_timer(TokioTimer::new()).http1_max_buf_size(READ_AHEAD);
        Self { client: builder.build(connector) }
    }
}

impl HttpClient for Http {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Requests {
            client: self.client.clone(),
            read_timeout: settings.read_timeout(),
        })
    }
}

/// The client with the time limit of an operation.
#[derive(Debug)]
struct Requests {
    client: Client<Connector, Body>,
    /// Longest wait for the head of an answer.
    read_timeout: Option<Duration>,
}

impl HttpConnector for Requests {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        let connection = capture_connection(&mut request);
        if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
            capture.set_connection_retriever(move || poisonable(&connection));
        }
        let (answer, limit) =
            (self.client.request(request.map(SdkBody::boxed_unsync)), self.read_timeout);
        HttpConnectorFuture::new(async move {
            let answer = match limit {
                Some(limit) => timeout(limit, answer)
                    .await
                    .map_err(|late| ConnectorError::timeout(late.into()))?,
                None => answer.await,
            };
            let answer = answer.map_err(|error| classified(Box::new(error)))?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// The connection behind a request, so that the SDK can keep it from being used again when its server
/// is in trouble.
fn poisonable(capture: &CaptureConnection) -> Option<ConnectionMetadata> {
    capture.connection_metadata().as_ref()?;
    let capture = capture.clone();
    let poison = move || {
        if let Some(connection) = capture.connection_metadata().as_ref() {
            connection.poison();
        }
    };
    Some(ConnectionMetadata::builder().proxied(false).poison_fn(poison).build())
}

/// What the SDK is to make of an error, which decides whether it tries again.
fn classified(error: BoxError) -> ConnectorError {
    if cause::<TookTooLong>(&*error).is_some() {
        return ConnectorError::timeout(error);
    }
    if let Some(hyper) = cause::<hyper::Error>(&*error) {
        if hyper.is_timeout() {
            return ConnectorError::timeout(error);
        }
        if hyper.is_user() {
            return ConnectorError::user(error);
        }
        // S3 closes connections that it has had enough of; whoever was using one asks again.
        if hyper.is_incomplete_message() {
            return ConnectorError::other(error, Some(ErrorKind::TransientError));
        }
    }
    // No connection, or one that broke.
    ConnectorError::io(error)
}

/// The first of an error's causes, itself included, that is a `T`.
fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
