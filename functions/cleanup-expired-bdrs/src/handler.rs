//! The invocation: an event from a schedule, a rule or a person in, a summary out.

use std::time::Duration;

use lambda_runtime::LambdaEvent;
use serde::Serialize;
use serde_json::Value;
use shared::clock::Clock;
use shared::lambda::{InvocationError, time_left};
use tokio::time::Instant;

use crate::context::Cleanup;
use crate::erasure::Erasure;
use crate::event::Event;
use crate::summary::Summary;

/// Time before the deadline in which no page starts, so that a started page can end.
const DEADLINE_GUARD: Duration = Duration::from_mins(1);

/// The handler of invocations.
pub struct Handler {
    /// The clients and settings of a run.
    pub cleanup: Cleanup,
    /// The clock for the time left until the deadline.
    pub clock: Clock,
}

/// The answer to an invocation.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// What a run did.
    Run(Summary),
    /// What an erasure did.
    Erase(Erasure),
}

impl Handler {
    /// Runs the tasks that the event names, or erases what it names.
    ///
    /// # Errors
    /// When the event is invalid, or the run as a whole fails: the invocation then fails too, Lambda
    /// retries it, and the alarm on errors fires.
    pub async fn handle(&self, event: LambdaEvent<Value>) -> Result<Answer, InvocationError> {
        let LambdaEvent { payload, context, .. } = event;
        let event = Event::parse(&payload).map_err(|error| {
            tracing::error!(error = %error, "event is invalid");
            InvocationError::invalid_payload(error.to_string())
        })?;
        let left = time_left(&context, &self.clock);
        let stop_at = Instant::now() + left.saturating_sub(DEADLINE_GUARD);
        Ok(match event {
            Event::Run(tasks) => Answer::Run(self.cleanup.run(&tasks, stop_at).await?),
            Event::Erase(target) => Answer::Erase(self.cleanup.erase(&target, stop_at).await?),
        })
    }
}
