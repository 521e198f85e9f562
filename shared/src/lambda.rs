//! The start of a function (environment, log, clients, then the runtime loop) and the time left in
//! an invocation.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use lambda_runtime::{Context, Error, LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::Value;

use crate::clock::Clock;
use crate::config::Environment;
use crate::telemetry::Logs;

/// Returns the time left until the deadline of an invocation, which Lambda gives in milliseconds
/// since the Unix epoch.
#[must_use]
pub fn time_left(context: &Context, clock: &Clock) -> Duration {
    let now_ms = clock.now().unix_timestamp_nanos() / 1_000_000;
    let left_ms = i128::from(context.deadline) - now_ms;
    Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
}

/// Runs the function `name`: `init` creates its handler, and `handle` gets every event.
///
/// # Errors
/// When `init` fails (after one log line with the cause), or the runtime API does not respond.
pub async fn run<H, A, F, G>(
    name: &'static str,
    init: impl AsyncFnOnce(&Environment) -> Result<H, Error>,
    handle: F,
) -> Result<(), Error>
where
    F: Fn(Arc<H>, LambdaEvent<Value>) -> G,
    G: Future<Output = Result<A, Error>>,
    A: Serialize,
{
    let environment = Environment::of_process();
    Logs::from_environment(&environment).init();
    let handler = match init(&environment).await {
        Ok(handler) => Arc::new(handler),
        Err(error) => {
            tracing::error!(error = %error, "failed to start {name}");
            return Err(error);
        }
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "{name} started");
    // Boxed: the compiler fails to compute the layout of a whole job within the runtime's layers.
    lambda_runtime::run(service_fn(|event| handle(Arc::clone(&handler), event).boxed_local())).await
}
