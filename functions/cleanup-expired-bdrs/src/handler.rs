//! The event, from a schedule, a rule or a person, and the answer.

use std::time::Duration;

use lambda_runtime::{Error, LambdaEvent};
use serde_json::Value;
use shared::clock::Clock;
use shared::lambda::time_left;
use tokio::time::Instant;

use crate::cleanup::Task;
use crate::context::Cleanup;
use crate::report::Report;

/// Kept before the deadline: a page that has begun must be able to end.
const DEADLINE_GUARD: Duration = Duration::from_mins(1);

/// Turns events into runs.
pub struct Handler {
    /// What it runs with.
    pub cleanup: Cleanup,
    /// For the time left until the deadline.
    pub clock: Clock,
}

impl Handler {
    /// Runs the tasks that the event asks for.
    ///
    /// # Errors
    /// When the run as a whole fails: the invocation then fails too, is repeated by Lambda, and is
    /// heard of.
    pub async fn handle(&self, event: LambdaEvent<Value>) -> Result<Report, Error> {
        let left = time_left(&event.context, &self.clock);
        let stop_at = Instant::now() + left.saturating_sub(DEADLINE_GUARD);
        Ok(self.cleanup.run(&tasks(&event.payload), stop_at).await?)
    }
}

/// The tasks of `{"only": ["rescue", …]}`; all of them for any other event, such as what
/// EventBridge sends.
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
    fn only_a_list_of_known_tasks_is_a_choice() {
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
