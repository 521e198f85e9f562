//! The invocation: an event from a schedule, a rule or a person in, a summary out.

use std::time::Duration;

use lambda_runtime::LambdaEvent;
use serde_json::Value;
use shared::clock::Clock;
use shared::lambda::{InvocationError, time_left};
use tokio::time::Instant;

use crate::context::Cleanup;
use crate::summary::Summary;
use crate::task::Task;

/// Time before the deadline in which no page starts, so that a started page can end.
const DEADLINE_GUARD: Duration = Duration::from_mins(1);

/// The handler of invocations.
pub struct Handler {
    /// The clients and settings of a run.
    pub cleanup: Cleanup,
    /// The clock for the time left until the deadline.
    pub clock: Clock,
}

impl Handler {
    /// Runs the tasks that the event names.
    ///
    /// # Errors
    /// When the run as a whole fails: the invocation then fails too, Lambda retries it, and the
    /// alarm on errors fires.
    pub async fn handle(&self, event: LambdaEvent<Value>) -> Result<Summary, InvocationError> {
        let left = time_left(&event.context, &self.clock);
        let stop_at = Instant::now() + left.saturating_sub(DEADLINE_GUARD);
        Ok(self.cleanup.run(&tasks(&event.payload), stop_at).await?)
    }
}

/// Returns the tasks of `{"only": ["rescue", …]}`, or all tasks for any other event, such as those
/// of EventBridge.
fn tasks(event: &Value) -> Vec<Task> {
    let named = event.get("only").and_then(Value::as_array).map(|names| {
        names.iter().map(|name| name.as_str().and_then(Task::parse)).collect::<Option<Vec<_>>>()
    });
    match named.flatten() {
        Some(only) if !only.is_empty() => {
            Task::ALL.into_iter().filter(|task| only.contains(task)).collect()
        }
        _ => Task::ALL.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Task, tasks};

    #[test]
    fn only_a_list_of_known_tasks_selects_tasks() {
        let hourly = json!({"only": ["republish", "rescue"]});
        assert_eq!(tasks(&hourly), [Task::Rescue, Task::Republish], "in the order of a run");
        for all in [
            json!({}),
            json!(null),
            json!({"only": []}),
            json!({"only": "rescue"}),
            json!({"only": ["everything"]}),
            json!({"version": "0", "detail-type": "Scheduled Event", "detail": {}}),
        ] {
            assert_eq!(tasks(&all), Task::ALL, "{all}");
        }
    }
}
