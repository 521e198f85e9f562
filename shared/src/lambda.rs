//! What is the same for all functions: their start (environment, log, clients, then whatever Lambda
//! sends), and the time an invocation has.

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

/// How long this invocation may still take. Its deadline is given in milliseconds since the epoch.
#[must_use]
pub fn time_left(context: &Context, clock: &Clock) -> Duration {
    let now_ms = clock.now().unix_timestamp_nanos() / 1_000_000;
    let left_ms = i128::from(context.deadline) - now_ms;
    Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
}

/// Runs the function `name`: `init` makes its handler, and every event is handed to `handle`.
///
/// # Errors
/// When `init` fails, after one line in the log that says why, or when the runtime API does not
/// answer.
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
            tracing::error!(error = %error, "{name} cannot start");
            return Err(error);
        }
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "{name} started");
    // Boxed: the compiler gives up on the layout of a whole job within the runtime's layers.
    lambda_runtime::run(service_fn(|event| handle(Arc::clone(&handler), event).boxed_local())).await
}
