//! The commands of the runbook in `docs/operations.md`, as the page prints them, run by a shell.

use bdr_tests::doc_commands::{self, CHECKED, ON_THE_LOCAL_STACK, run};
use bdr_tests::scenario::unique;
use bdr_tests::{Artwork, Delivery, Scenario, scenario};
use serde_json::{Value, json};

use super::pages::OPERATIONS;
use crate::bdrctl::BDRCTL;

/// Passes the scenario's own queues to the tool: other scenarios use those of the stack.
const WITH_ITS_QUEUES: &str = r#"
    bdrctl() {
      command "$BDRCTL" ${queue:+--queue-url "$queue"} ${dead:+--dead-letter-queue-url "$dead"} "$@"
    }"#;

/// The shell blocks under a heading of the page, in order.
fn blocks(heading: &str) -> Vec<&'static str> {
    doc_commands::blocks(OPERATIONS.text, heading, "sh")
}

/// Runs a block of the runbook on the local stack, after its first block and these `names`.
async fn run_locally(s: &Scenario, names: &str, block: &str) -> String {
    let first = blocks("## Runbook")[0];
    let tool = format!("BDRCTL='{BDRCTL}'\n{WITH_ITS_QUEUES}");
    run(s, &format!("{ON_THE_LOCAL_STACK}\n{tool}\n{first}\n{names}\n{block}\n")).await
}

/// Creates a queue and returns its URL.
async fn queue(s: &Scenario) -> String {
    s.sqs.create_queue().queue_name(unique("r")).send().await.unwrap().queue_url.unwrap()
}

/// Inserts a request that has failed, and returns its id.
async fn failed_request(s: &Scenario) -> uuid::Uuid {
    let post = s.artwork(Artwork::default()).await;
    let bdr_id = s.request(&[post]).await;
    // Old enough for the cleanup to mark it failed again, unless a retry resets its age.
    let failed = "status = 'failed', error_message = 'x', completed_at = now(),
                  created_at = now() - interval '8 days', started_at = now() - interval '8 days'";
    s.set(bdr_id, failed).await;
    bdr_id
}

/// Asserts that the request is pending with a new age, and that an attempt makes it ready.
async fn assert_open_again(s: &Scenario, bdr_id: uuid::Uuid) {
    let young = "SELECT greatest(r.created_at, r.started_at) > now() - interval '1 hour'
                   FROM batch_download_requests AS r WHERE r.id = $1";
    assert!(s.database.query_one(young, &[&bdr_id]).await.unwrap().get::<_, bool>(0));
    assert_eq!(s.row(bdr_id).await["error_message"], Value::Null);
    assert_eq!(s.worker(&[]).await.receive(bdr_id).await, Delivery::Acknowledged);
    assert_eq!(s.row(bdr_id).await["status"], "ready");
}

#[test]
fn dead_letters_are_redriven_rows_first() {
    scenario(async |s| {
        let dead = queue(&s).await;
        let bdr_id = failed_request(&s).await;
        for body in [Scenario::message(bdr_id), "no request at all".to_owned()] {
            s.sqs.send_message().queue_url(&dead).message_body(body).send().await.unwrap();
        }
        let source = queue(&s).await;
        let names = format!("queue={source} dead={dead}");
        // The status for a message that is left.
        let redrive = blocks("### Redrive")[0].trim();
        run_locally(&s, &names, &format!("{redrive} || [ $? -eq 1 ]")).await;
        assert_eq!(s.row(bdr_id).await["status"], "pending");
        assert_open_again(&s, bdr_id).await;
    });
}

#[test]
fn one_request_is_retried_without_its_message() {
    scenario(async |s| {
        let source = queue(&s).await;
        let bdr_id = failed_request(&s).await;
        let names = format!("queue={source} bdr_id={bdr_id}");
        run_locally(&s, &names, blocks("### Redrive")[1]).await;
        let received = s.sqs.receive_message().queue_url(&source).send().await.unwrap();
        let body: Value = serde_json::from_str(received.messages()[0].body().unwrap()).unwrap();
        assert_eq!(body, json!({"bdr_id": bdr_id}));
        assert_open_again(&s, bdr_id).await;
    });
}

#[test]
fn a_stuck_request_is_listed_and_published_again() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        s.set(bdr_id, "created_at = now() - interval '5 hours'").await;
        let printed = run_locally(&s, "", blocks("### A request is stuck")[0]).await;
        assert!(printed.contains(&bdr_id.to_string()), "{printed}");
        assert!(printed.contains("published again"), "{printed}");
        s.wait_for(bdr_id, "ready").await;
    });
}

#[test]
fn dead_letters_are_listed() {
    scenario(async |s| {
        let dead = queue(&s).await;
        let bdr_id = failed_request(&s).await;
        for body in [Scenario::message(bdr_id), "poison".to_owned()] {
            s.sqs.send_message().queue_url(&dead).message_body(body).send().await.unwrap();
        }
        let block = blocks("### A message is in the dead-letter queue")[0];
        let printed = run_locally(&s, &format!("dead={dead}"), block).await;
        assert!(printed.contains(&bdr_id.to_string()), "{printed}");
        assert!(printed.contains("malformed message"), "{printed}");
    });
}

#[test]
fn the_commands_that_change_the_account_are_valid() {
    scenario(async |s| {
        let names = "output() { echo '/aws/lambda/makapix-bdr'; }
                     address=artist@example.org operator_role=operators";
        let headings = [
            "### Artworks are missing",
            "### The database is down",
            "### E-mails do not arrive",
            "### The canary fails",
            "### Large exports",
            "## bdrctl",
        ];
        for heading in headings {
            for block in blocks(heading) {
                run(&s, &format!("{CHECKED}\n{names}\n{block}")).await;
            }
        }
    });
}
