//! The API that a function polls for its invocations (AWS Lambda Developer Guide, "Using the Lambda
//! runtime API for custom runtimes").

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::Value;
use shared::clock::Clock;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, SetOnce, mpsc};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// The API for one process.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    /// For `AWS_LAMBDA_RUNTIME_API`.
    pub(super) address: SocketAddr,
    events: mpsc::UnboundedSender<Value>,
    answers: mpsc::UnboundedReceiver<Result<String, String>>,
    polled: Arc<SetOnce<Instant>>,
    _server: AbortOnDropHandle<()>,
}

impl RuntimeApi {
    /// Serves the function `arn`, whose invocations may take `timeout`, on the current runtime.
    pub(super) async fn start(arn: &str, timeout: Duration) -> Result<Self> {
        let (events, pending) = mpsc::unbounded_channel::<Value>();
        let (answered, answers) = mpsc::unbounded_channel();
        let (arn, pending) = (arn.to_owned(), Arc::new(Mutex::new(pending)));
        let polled = Arc::<SetOnce<Instant>>::default();
        let first_poll = Arc::clone(&polled);
        let next = async move || {
            // An error means that this is not the first poll.
            let _ = first_poll.set(Instant::now());
            let event = pending.lock().await.recv().await.ok_or(StatusCode::GONE)?;
            let deadline = Clock::system().now() + timeout;
            let deadline_ms = deadline.unix_timestamp_nanos() / 1_000_000;
            let headers = [
                ("Content-Type", "application/json".to_owned()),
                ("Lambda-Runtime-Aws-Request-Id", Uuid::new_v4().to_string()),
                ("Lambda-Runtime-Deadline-Ms", deadline_ms.to_string()),
                ("Lambda-Runtime-Invoked-Function-Arn", arn),
            ];
            Ok::<_, StatusCode>((headers, event.to_string()))
        };
        // `invocation/{id}/response`, `invocation/{id}/error` or `init/error`.
        let result = async move |Path(what): Path<String>, body: String| {
            let is_response = what.ends_with("/response");
            let answer = if is_response { Ok(body) } else { Err(format!("{what}: {body}")) };
            // An error means that the invocation was given up.
            let _ = answered.send(answer);
            StatusCode::ACCEPTED
        };
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/{*what}", post(result));
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port is free")?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            // An error is impossible: the server runs until it is aborted.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self { address, events, answers, polled, _server: AbortOnDropHandle::new(server) })
    }

    /// Waits for the process's first poll; returns when it came.
    pub(super) async fn polled(&self) -> Instant {
        *self.polled.wait().await
    }

    /// Hands `event` to the process; returns its response, or its error.
    pub(super) async fn invoke(&mut self, event: Value) -> Result<Result<String, String>> {
        self.events.send(event).context("the Runtime API has stopped")?;
        self.answers.recv().await.context("the Runtime API has stopped")
    }
}
