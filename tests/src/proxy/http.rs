//! The proxy in front of the AWS endpoint and a web host: plain HTTP/1.1, bodies in memory.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use aws_config::SdkConfig;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use local_stack::LocalStack;
use tokio::sync::Mutex as AsyncMutex;
use tokio_util::task::AbortOnDropHandle;

use super::call::{Call, WEB};
use super::connection::{Cut, Port};
use super::refusal::refusal;
use super::script::{Extent, Fault, Script};

/// The proxy. It accepts no connection after it is dropped.
#[derive(Debug)]
pub struct HttpProxy {
    address: SocketAddr,
    silences: Arc<AtomicU32>,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
    _server: AbortOnDropHandle<()>,
}

/// A request that was answered, and the status of the answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The service and the operation.
    pub call: Call,
    /// The request.
    pub request: Request<Bytes>,
    /// The status of the answer.
    pub status: StatusCode,
}

struct Proxy {
    script: Arc<Script>,
    client: reqwest::Client,
    aws: String,
    web: String,
    files: Files,
    /// The time of each of these files, one after the other.
    pace: Duration,
    turn: AsyncMutex<()>,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
}

/// Files by path.
pub type Files = Arc<HashMap<String, Bytes>>;

impl HttpProxy {
    /// Starts a proxy that forwards to the AWS endpoint `aws`, and under `/web` to the web host `web`;
    /// both are URLs without a path.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(script: Arc<Script>, aws: &str, web: &str) -> Result<Self> {
        Self::start_with_files(script, aws, web, Files::default()).await
    }

    /// Starts a proxy that answers GETs of these files itself, because the AWS stand-in serves only a few
    /// hundred a second.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start_with_files(
        script: Arc<Script>,
        aws: &str,
        web: &str,
        files: Files,
    ) -> Result<Self> {
        Self::start_with_pace(script, aws, web, files, Duration::ZERO).await
    }

    /// Starts a proxy that answers GETs of these files itself, one after the other, each in this time.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start_with_pace(
        script: Arc<Script>,
        aws: &str,
        web: &str,
        files: Files,
        pace: Duration,
    ) -> Result<Self> {
        let exchanges = Arc::default();
        let proxy = Arc::new(Proxy {
            script,
            client: local_stack::http::client()?,
            aws: aws.to_owned(),
            web: web.to_owned(),
            files,
            pace,
            turn: AsyncMutex::new(()),
            exchanges: Arc::clone(&exchanges),
        });
        let port = Port::open().await?;
        let (address, silences) = (port.address, Arc::clone(&port.silences));
        let routes = Router::new().fallback(answer).with_state(proxy);
        let service = routes.into_make_service_with_connect_info::<Cut>();
        let serving = async move {
            // An error is impossible: the server runs until it is aborted.
            let _ = axum::serve(port, service).await;
        };
        let server = AbortOnDropHandle::new(tokio::spawn(serving));
        Ok(Self { address, silences, exchanges, _server: server })
    }

    /// Returns the proxy's URL, for `AWS_ENDPOINT_URL`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the proxy's host and port, for `REMOTE_ALLOW_HOSTS`.
    #[must_use]
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Returns the URL of the web host's `path` through the proxy.
    #[must_use]
    pub fn web_url(&self, path: &str) -> String {
        format!("http://{}{}{path}", self.address, WEB.trim_end_matches('/'))
    }

    /// Returns the configuration of AWS clients that call the stack through the proxy.
    #[must_use]
    pub fn sdk_config(&self, stack: &LocalStack) -> SdkConfig {
        stack.sdk_config().into_builder().endpoint_url(self.endpoint()).build()
    }

    /// Returns the requests that were answered so far.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.exchanges.lock().unwrap().clone()
    }

    /// Silences the present connections: they stay open, and nothing passes. Later ones work.
    pub fn go_silent(&self) {
        self.silences.fetch_add(1, Relaxed);
    }
}

async fn answer(
    State(proxy): State<Arc<Proxy>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request<Body>,
) -> Response {
    // A task of its own: a request that is held or delayed reaches its service even if the client
    // closes the connection meanwhile.
    let answered = tokio::spawn(async move { proxy.answer(request).await }).await;
    let (extent, response) = match answered {
        Ok(Ok(answered)) => answered,
        _ => (Extent::Nothing, Response::default()),
    };
    cut.next_answer(extent);
    response
}

/// Returns a body with another bit in its middle.
fn flipped(body: &Bytes) -> Bytes {
    let mut bytes = body.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes.into()
}

impl Proxy {
    /// Answers a request. An error closes the connection without an answer.
    async fn answer(&self, request: Request<Body>) -> Result<(Extent, Response)> {
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head, to_bytes(body, usize::MAX).await?);
        let call = Call::of_http(&request);
        let fault = self.script.next(call.clone());
        let response = if let Some(refusal) = fault.and_then(|it| refusal(call.service, it)) {
            refusal
        } else {
            ensure!(self.script.before(fault).await, "the fault loses the request");
            let mut sent = request.clone();
            if fault == Some(Fault::FlippedBit) {
                *sent.body_mut() = flipped(request.body());
            }
            self.forward(sent).await?
        };
        let exchange = Exchange { call, request, status: response.status() };
        self.exchanges.lock().unwrap().push(exchange);
        Ok((self.script.after(fault).await, response))
    }

    async fn forward(&self, mut request: Request<Bytes>) -> Result<Response> {
        if let Some(file) = self.files.get(request.uri().path()) {
            if !self.pace.is_zero() {
                let _turn = self.turn.lock().await;
                tokio::time::sleep(self.pace).await;
            }
            return Ok(file.clone().into_response());
        }
        let target = request.uri().to_string();
        *request.uri_mut() = match target.strip_prefix(WEB) {
            Some(path) => format!("{}/{path}", self.web).parse()?,
            None => format!("{}{target}", self.aws).parse()?,
        };
        for of_the_connection in [CONNECTION, CONTENT_LENGTH, EXPECT] {
            request.headers_mut().remove(of_the_connection);
        }
        let answer = self.client.execute(request.try_into()?).await?;
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        for of_the_connection in [CONNECTION, TRANSFER_ENCODING] {
            headers.remove(of_the_connection);
        }
        Ok((status, headers, Body::from(answer.bytes().await?)).into_response())
    }
}
