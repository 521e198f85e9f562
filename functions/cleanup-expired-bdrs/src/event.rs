//! The event of an invocation. An event that is not of a known form runs nothing: a typing error
//! must not run more than its author asked for.

use serde_json::{Map, Value};
use shared::sqid::Sqid;
use uuid::Uuid;

use crate::erase::Target;
use crate::task::Task;

/// What an event asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Runs these tasks, in the order of a run.
    Run(Vec<Task>),
    /// Erases this.
    Erase(Target),
}

/// An event of no known form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid event: {0}")]
pub(crate) struct InvalidEvent(String);

/// The members of an event that is not of a schedule. An event has one of them.
const MEMBERS: [&str; 2] = ["only", "erase"];
/// The members of every event of EventBridge and of EventBridge Scheduler's default input
/// (EventBridge, "Event structure").
const EVENTBRIDGE_MEMBERS: [&str; 9] =
    ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"];
/// `detail-type` of the events of a schedule.
const SCHEDULED: &str = "Scheduled Event";

impl Event {
    /// Parses an event: `{}` and the event of a schedule for all tasks, `{"only": ["rescue", …]}` for
    /// some, `{"erase": {"user_sqid": …}}` and `{"erase": {"bdr_id": …}}` for an erasure.
    ///
    /// # Errors
    /// When the event is of another form. The error names what is wrong and the known names.
    pub(crate) fn parse(event: &Value) -> Result<Self, InvalidEvent> {
        let Value::Object(members) = event else {
            return Err(InvalidEvent("it must be a JSON object".to_owned()));
        };
        if members.is_empty() || is_schedule(members) {
            return Ok(Self::Run(Task::ALL.to_vec()));
        }
        if let Some(member) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            return Err(InvalidEvent(format!(
                "unknown member {member:?}; the known members are {}, and {{}} runs all tasks",
                MEMBERS.join(" and ")
            )));
        }
        match (members.get("only"), members.get("erase")) {
            (Some(only), None) => tasks(only).map(Self::Run),
            (None, Some(erase)) => target(erase).map(Self::Erase),
            _ => Err(InvalidEvent("it must have one of the members only and erase".to_owned())),
        }
    }
}

/// Parses what to erase.
fn target(erase: &Value) -> Result<Target, InvalidEvent> {
    const FORM: &str = "\"erase\" must be {\"user_sqid\": \"<sqid>\"} or {\"bdr_id\": \"<uuid>\"}";
    let members = erase.as_object().filter(|members| members.len() == 1);
    let member = members.and_then(|members| members.iter().next());
    let target = member.and_then(|(name, value)| match (name.as_str(), value.as_str()?) {
        ("user_sqid", sqid) => Sqid::parse(sqid).map(Target::User),
        // The hyphenated form only, as in messages and keys.
        ("bdr_id", id) if id.len() == 36 => Uuid::parse_str(id).ok().map(Target::Request),
        _ => None,
    });
    target.ok_or_else(|| InvalidEvent(FORM.to_owned()))
}

/// Returns whether this is the event of a schedule, with all of its documented members and no other.
fn is_schedule(members: &Map<String, Value>) -> bool {
    members.len() == EVENTBRIDGE_MEMBERS.len()
        && EVENTBRIDGE_MEMBERS.iter().all(|member| members.contains_key(*member))
        && members["detail-type"] == SCHEDULED
}

/// Parses the tasks of `only`.
fn tasks(only: &Value) -> Result<Vec<Task>, InvalidEvent> {
    let known = || Task::ALL.map(Task::as_str).join(", ");
    let names = only.as_array().filter(|names| !names.is_empty()).ok_or_else(|| {
        InvalidEvent(format!("\"only\" must be a list of at least one of the tasks {}", known()))
    })?;
    let mut tasks = Vec::new();
    for name in names {
        let task = name.as_str().and_then(Task::parse);
        tasks.push(task.ok_or_else(|| {
            InvalidEvent(format!("unknown task {name}; the known tasks are {}", known()))
        })?);
    }
    Ok(Task::ALL.into_iter().filter(|task| tasks.contains(task)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Event, Sqid, Target, Task, Uuid};

    const ID: &str = "8c4f2a00-1d3e-4b5c-9f60-7a8b9c0d1e2f";

    fn scheduled() -> Value {
        json!({
            "version": "0",
            "id": "8c4f2a00-1d3e-4b5c-9f60-7a8b9c0d1e2f",
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": "123456789012",
            "time": "2026-03-04T03:30:00Z",
            "region": "us-east-1",
            "resources": ["arn:aws:scheduler:us-east-1:123456789012:schedule/default/daily"],
            "detail": "{}",
        })
    }

    #[test]
    fn only_a_list_of_known_tasks_selects_tasks() {
        let hourly = json!({"only": ["republish", "rescue", "rescue"]});
        let expected = vec![Task::Rescue, Task::Republish];
        assert_eq!(Event::parse(&hourly), Ok(Event::Run(expected)), "in the order of a run");
        for task in Task::ALL {
            let event = json!({"only": [task.as_str()]});
            assert_eq!(Event::parse(&event), Ok(Event::Run(vec![task])));
        }
    }

    #[test]
    fn an_erasure_names_one_user_or_one_request() {
        let user = Target::User(Sqid::parse("k5rA").unwrap());
        let request = Target::Request(Uuid::parse_str(ID).unwrap());
        for (erase, target) in [
            (json!({"user_sqid": "k5rA"}), user),
            (json!({"bdr_id": ID}), request.clone()),
            (json!({"bdr_id": ID.to_uppercase()}), request),
        ] {
            assert_eq!(Event::parse(&json!({ "erase": erase })), Ok(Event::Erase(target)));
        }
    }

    #[test]
    fn all_tasks_run_for_the_empty_object_and_for_a_schedule() {
        let mut by_rule = scheduled();
        by_rule["source"] = json!("aws.events");
        by_rule["detail"] = json!({});
        for all in [json!({}), scheduled(), by_rule] {
            assert_eq!(Event::parse(&all), Ok(Event::Run(Task::ALL.to_vec())), "{all}");
        }
    }

    #[test]
    fn every_other_event_is_an_error() {
        let with = |member: &str, value: Value| {
            let mut event = scheduled();
            event[member] = value;
            event
        };
        let without = |member: &str| {
            let mut event = scheduled();
            event.as_object_mut().unwrap().remove(member);
            event
        };
        for event in [
            json!(null),
            json!(true),
            json!([]),
            json!(["expire"]),
            json!("expire"),
            json!({"only": []}),
            json!({"only": null}),
            json!({"only": "rescue"}),
            json!({"only": ["nonsense"]}),
            json!({"only": ["rescue", "Expire"]}),
            json!({"only": ["rescue", 1]}),
            json!({"only": [["rescue"]]}),
            json!({"onlyy": ["rescue"]}),
            json!({"Only": ["rescue"]}),
            json!({"only": ["rescue"], "dry_run": true}),
            json!({"only": ["rescue"], "erase": {"user_sqid": "k5rA"}}),
            json!({"erase": "k5rA"}),
            json!({"erase": {}}),
            json!({"erase": {"user": "k5rA"}}),
            json!({"erase": {"user_sqid": "k5rA", "bdr_id": ID}}),
            json!({"erase": {"user_sqid": ""}}),
            json!({"erase": {"user_sqid": 5}}),
            json!({"erase": {"user_sqid": "k5rA/"}}),
            json!({"erase": {"user_sqid": "../k5rA"}}),
            json!({"erase": {"user_sqid": "a".repeat(65)}}),
            json!({"erase": {"bdr_id": "k5rA"}}),
            json!({"erase": {"bdr_id": ID.replace('-', "")}}),
            json!({"erase": {"bdr_id": format!("{{{ID}}}")}}),
            with("only", json!(["rescue"])),
            with("detail-type", json!("EC2 Instance State-change Notification")),
            without("source"),
        ] {
            assert!(Event::parse(&event).is_err(), "{event}");
        }
    }

    #[test]
    fn the_error_lists_the_known_names() {
        let error = |event| Event::parse(&event).unwrap_err().to_string();
        let tasks = "expire, rescue, republish, orphans, purge";
        assert_eq!(
            error(json!({"only": ["Expire"]})),
            format!("invalid event: unknown task \"Expire\"; the known tasks are {tasks}")
        );
        assert_eq!(
            error(json!({"only": []})),
            format!("invalid event: \"only\" must be a list of at least one of the tasks {tasks}")
        );
        assert_eq!(
            error(json!({"onlyy": ["expire"]})),
            "invalid event: unknown member \"onlyy\"; the known members are only and erase, and {} \
             runs all tasks"
        );
        assert_eq!(error(json!(null)), "invalid event: it must be a JSON object");
    }
}
