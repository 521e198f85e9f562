//! The operator's tool: its binary against the local stack.

mod canary;
mod cleanup;
mod connections;
pub(crate) mod doctor;
mod erase;
mod errors;
pub(crate) mod exports;
mod help;
mod log;
mod notify;
mod output;
mod parameters;
mod redrive;
mod requests;
mod suppression;

use std::process::{Output, Stdio};

use aws_sdk_sqs::types::MessageSystemAttributeName;
use bdr_tests::Scenario;
use bdr_tests::scenario::unique;
use serde_json::Value;
use tokio::process::Command;
use uuid::Uuid;

/// Path of the binary.
pub(crate) const BDRCTL: &str = env!("CARGO_BIN_EXE_bdrctl-under-test");

/// The result and output of a run.
pub(crate) struct Ran {
    pub(crate) succeeded: bool,
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Returns a command that runs the tool with the API's privileges, at this endpoint of AWS.
pub(crate) fn command(s: &Scenario, endpoint: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(BDRCTL);
    command
        .args(arguments)
        .env_clear()
        .envs(s.stack.environment())
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("DATABASE_URL", s.admin_database_url())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs the tool. Its output must contain no address and no URL with a query, except that of `link`.
async fn bdrctl(s: &Scenario, arguments: &[&str]) -> Ran {
    ran(s, arguments, command(s, s.stack.endpoint(), arguments).output().await.unwrap())
}

pub(crate) fn ran(s: &Scenario, arguments: &[&str], output: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    s.secrets.look_for_leaks(err.lines());
    if !arguments.contains(&"link") {
        s.secrets.look_for_leaks(out.lines());
    }
    Ran { succeeded: output.status.success(), status: output.status.code(), out, err }
}

impl Ran {
    #[track_caller]
    fn ok(self) -> String {
        assert!(self.succeeded, "{}{}", self.out, self.err);
        self.out
    }

    #[track_caller]
    fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// Returns standard error of a run that failed.
    #[track_caller]
    fn failed(self) -> String {
        assert!(!self.succeeded, "{}{}", self.out, self.err);
        self.err
    }
}

/// Creates a queue for this scenario and returns its URL.
async fn queue(s: &Scenario) -> String {
    s.sqs.create_queue().queue_name(unique("o")).send().await.unwrap().queue_url.unwrap()
}

/// Returns the requests whose messages are in a queue, and deletes the messages. Each must be in the
/// artist's group.
async fn published(s: &Scenario, queue: &str) -> Vec<Uuid> {
    let received = s.sqs.receive_message().queue_url(queue).max_number_of_messages(10);
    let received = received.message_system_attribute_names(MessageSystemAttributeName::All);
    let messages = received.send().await.unwrap().messages.unwrap_or_default();
    let mut ids = Vec::new();
    for message in messages {
        let attributes = message.attributes.unwrap();
        let group = &attributes[&MessageSystemAttributeName::MessageGroupId];
        assert_eq!(*group, s.user_id.to_string());
        let body = message.body.unwrap();
        ids.extend(shared::message::Message::parse(&body).map(|message| message.bdr_id));
        let delete = s.sqs.delete_message().queue_url(queue);
        delete.receipt_handle(message.receipt_handle.unwrap()).send().await.unwrap();
    }
    ids
}

/// Inserts a request with these columns, and a leftover ZIP.
pub(crate) async fn request(s: &Scenario, columns: &str) -> Uuid {
    let bdr_id = s.request(&[1]).await;
    s.set(bdr_id, columns).await;
    s.put(&s.archive_key(bdr_id), b"leftover").await;
    bdr_id
}

pub(crate) const FAILED: &str = "status = 'failed', error_message = 'x', completed_at = now(),
                      created_at = now() - interval '8 days', started_at = now() - interval '8 days'";

/// Asserts that a request was reopened: a new age for the cleanup, and no ZIP for the functions.
async fn assert_reopened(s: &Scenario, bdr_id: Uuid) {
    let row = s.row(bdr_id).await;
    assert_eq!(row["status"], "pending");
    assert_eq!((&row["error_message"], &row["completed_at"]), (&Value::Null, &Value::Null));
    let young = "SELECT r.started_at > now() - interval '1 hour'
                   FROM batch_download_requests AS r WHERE r.id = $1";
    assert!(s.database.query_one(young, &[&bdr_id]).await.unwrap().get::<_, bool>(0));
    assert!(s.archive(bdr_id).await.is_none(), "the leftover ZIP is deleted");
}
