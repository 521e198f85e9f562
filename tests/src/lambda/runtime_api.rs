//! The API that a function polls for its invocations ("Using the Lambda runtime API for custom
//! runtimes").

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc, watch},
    task::JoinHandle,
};
use uuid::Uuid;

/// What came of an invocation.
#[derive(Debug)]
pub(super) enum Answer {
    /// What the handler returned, as it was sent.
    Response(String),
    /// The handler failed.
    Error(String),
    /// The function could not start.
    InitError(String),
}

/// The API for one process.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    address: SocketAddr,
    events: mpsc::UnboundedSender<Value>,
    answers: mpsc::UnboundedReceiver<Answer>,
    /// When the first poll came.
    polled: watch::Receiver<Option<Instant>>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    arn: String,
    timeout: Duration,
    events: Mutex<mpsc::UnboundedReceiver<Value>>,
    answers: mpsc::UnboundedSender<Answer>,
    polled: watch::Sender<Option<Instant>>,
}

impl RuntimeApi {
    /// Serves the function `arn`, whose invocations may take `timeout`, on the current runtime.
    pub(super) async fn start(arn: &str, timeout: Duration) -> Result<Self> {
        let (events, next) = mpsc::unbounded_channel();
        let (answered, answers) = mpsc::unbounded_channel();
        let (first_poll, polled) = watch::channel(None);
        let shared = Shared {
            arn: arn.to_owned(),
            timeout,
            events: Mutex::new(next),
            answers: answered,
            polled: first_poll,
        };
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next_invocation))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .with_state(Arc::new(shared));

        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.context("the Runtime API cannot be started")?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            // It ends when it is aborted, and never by itself.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self { address, events, answers, polled, server })
    }

    /// For `AWS_LAMBDA_RUNTIME_API`.
    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    /// When the process has asked for its first event.
    pub(super) async fn polled(&mut self) -> Result<Instant> {
        let polled = self.polled.wait_for(Option::is_some).await;
        (*polled.context("the Runtime API has gone")?).context("the Runtime API has gone")
    }

    /// Hands `event` to the process as soon as it asks, and waits for what comes of it.
    pub(super) async fn invoke(&mut self, event: Value) -> Result<Answer> {
        self.events.send(event).context("the Runtime API has gone")?;
        self.answers.recv().await.context("the Runtime API has gone")
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn next_invocation(State(shared): State<Arc<Shared>>) -> Response {
    shared.polled.send_if_modified(|polled| {
        let first = polled.is_none();
        polled.get_or_insert_with(Instant::now);
        first
    });
    let Some(event) = shared.events.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let deadline = (now() + shared.timeout).unix_timestamp_nanos() / 1_000_000;
    let content = [(header::CONTENT_TYPE, "application/json")];
    let headers = [
        ("Lambda-Runtime-Aws-Request-Id", Uuid::new_v4().to_string()),
        ("Lambda-Runtime-Deadline-Ms", deadline.to_string()),
        ("Lambda-Runtime-Invoked-Function-Arn", shared.arn.clone()),
    ];
    (content, headers, event.to_string()).into_response()
}

#[expect(clippy::disallowed_methods, reason = "Lambda gives its deadlines as times of day")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

async fn response(
    State(shared): State<Arc<Shared>>,
    Path(_): Path<Uuid>,
    body: String,
) -> StatusCode {
    shared.accept(Answer::Response(body))
}

async fn error(State(shared): State<Arc<Shared>>, Path(_): Path<Uuid>, body: String) -> StatusCode {
    shared.accept(Answer::Error(body))
}

async fn init_error(State(shared): State<Arc<Shared>>, body: String) -> StatusCode {
    shared.accept(Answer::InitError(body))
}

impl Shared {
    fn accept(&self, answer: Answer) -> StatusCode {
        // Nobody waits any more when the process is being ended.
        let _ = self.answers.send(answer);
        StatusCode::ACCEPTED
    }
}
