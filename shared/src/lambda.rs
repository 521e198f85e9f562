//! The start of a function (environment, log, clients, then the runtime loop) and the time left in
//! an invocation.

mod error;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use lambda_runtime::{Context, Error, LambdaEvent, service_fn};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub use error::{ErrorType, InvocationError};

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

/// Runs the function `name`: `init` creates its handler, and `handle` gets every event. A panic of
/// `handle` is an [`InvocationError`].
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
    G: Future<Output = Result<A, InvocationError>>,
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
    let handle = &handle;
    let invoke = |event: LambdaEvent<Payload>| {
        let handler = Arc::clone(&handler);
        let handling = async move {
            let event = LambdaEvent::new(event.payload.0?, event.context);
            handle(handler, event).await
        };
        without_panic(handling)
    };
    // Boxed: the compiler fails to compute the layout of a whole job within the runtime's layers.
    lambda_runtime::run(service_fn(|event| invoke(event).boxed_local())).await
}

/// The payload of an invocation. A payload that is no JSON value, or nested too deeply, is an error of
/// this function: that of the runtime has the name of a Rust type as `errorType`.
struct Payload(Result<Value, InvocationError>);

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let invalid = |error: D::Error| {
            InvocationError::invalid_payload(format!("the payload must be JSON: {error}"))
        };
        Ok(Self(Value::deserialize(deserializer).map_err(invalid)))
    }
}

/// Turns a panic into an error: that of the runtime has the name of a Rust type as `errorType`. The panic
/// hook has logged it.
async fn without_panic<A>(
    handling: impl Future<Output = Result<A, InvocationError>>,
) -> Result<A, InvocationError> {
    let caught = AssertUnwindSafe(handling).catch_unwind().await;
    caught.unwrap_or_else(|_| Err(InvocationError::panicked()))
}

#[cfg(test)]
mod tests {
    use lambda_runtime::Diagnostic;

    use super::without_panic;

    #[tokio::test]
    async fn a_panic_is_an_internal_error() {
        let panicked = without_panic::<()>(async { panic!("at 10.0.0.7") }).await.unwrap_err();
        let Diagnostic { error_type, error_message } = panicked.into();
        assert_eq!(error_type, "Internal");
        assert_eq!(error_message, "the function panicked; its log has the cause");
    }
}
