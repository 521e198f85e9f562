//! `redrive`: the action on each message of the dead-letter queue, and interruptions.

use std::process::Stdio;
use std::sync::Arc;

use bdr_tests::proxy::{Fault, HttpProxy, Script, Service, Target};
use bdr_tests::{Scenario, scenario, scenario_apart};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use super::{FAILED, Ran, assert_reopened, bdrctl, command, published, queue, ran, request};

async fn send(s: &Scenario, queue: &str, body: &str) {
    s.sqs.send_message().queue_url(queue).message_body(body).send().await.unwrap();
}

/// Returns the numbers of visible and of hidden messages in a queue, as `visible+hidden`.
async fn count(s: &Scenario, queue: &str) -> String {
    let call = s.sqs.get_queue_attributes().queue_url(queue);
    let response = call.attribute_names("All".into()).send().await.unwrap();
    let number = |name: &str| response.attributes().unwrap()[&name.into()].clone();
    let visible = number("ApproximateNumberOfMessages");
    format!("{visible}+{}", number("ApproximateNumberOfMessagesNotVisible"))
}

#[test]
fn redrive_shows_then_applies_an_action_per_request_state() {
    scenario(async |s| {
        let (source, dead) = (queue(&s).await, queue(&s).await);
        let states = [
            ("failed", FAILED, "retry"),
            ("pending", "status = 'pending'", "publish"),
            (
                "processing",
                "status = 'processing', started_at = now() - interval '1 hour'",
                "publish",
            ),
            ("processing", "status = 'processing', started_at = now()", "leave"),
            ("ready", "status = 'ready'", "delete"),
            ("expired", "status = 'expired'", "delete"),
        ];
        let mut expected = Vec::new();
        for (state, columns, action) in states {
            let bdr_id = request(&s, columns).await;
            send(&s, &dead, &Scenario::message(bdr_id)).await;
            expected.push((bdr_id, state, action));
        }
        send(&s, &dead, &Scenario::message(Uuid::new_v4())).await;
        send(&s, &dead, "somebody@example.org").await;
        let queues = ["--queue-url", &source, "--dead-letter-queue-url", &dead, "redrive"];
        let before = s.row(expected[0].0).await;

        let shown = bdrctl(&s, &[&["--json"][..], &queues].concat()).await.json();
        let message = |bdr_id: Uuid| {
            let all = shown.as_array().unwrap();
            all.iter().find(|message| message["bdr_id"] == json!(bdr_id)).unwrap().clone()
        };
        for (bdr_id, state, action) in &expected {
            let message = message(*bdr_id);
            assert_eq!((&message["status"], &message["action"]), (&json!(state), &json!(action)));
        }
        assert!(shown.as_array().unwrap().iter().all(|message| message["done"] == false));
        assert_eq!((s.row(expected[0].0).await, count(&s, &source).await), (before, "0+0".into()));
        assert_eq!(count(&s, &dead).await, "8+0", "all messages are visible again");

        let age = |message: &Value| message["sent_at"].as_str().unwrap().to_owned();
        assert!(shown.as_array().unwrap().iter().all(|message| age(message).starts_with("20")));

        let done = bdrctl(&s, &[&queues[..], &["--yes"]].concat()).await;
        assert_eq!(done.status, Some(1), "messages are left");
        assert!(done.err.contains("run `bdrctl redrive --discard`"), "{}", done.err);
        insta::with_settings!({filters => vec![
            (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "[id]"), (r"(?m)^ \d+m?s +", " [age]  "),
            (r"(?m)^ age +", " age    "),
        ], sort_maps => true}, {
            let mut lines: Vec<_> = done.out.lines().collect();
            lines[1..].sort_by_key(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
            insta::assert_snapshot!("redrive", lines.join("\n"));
        });
        assert_reopened(&s, expected[0].0).await;
        let mut sent = published(&s, &source).await;
        sent.sort();
        let mut wanted = vec![expected[0].0, expected[1].0, expected[2].0];
        wanted.sort();
        assert_eq!(sent, wanted);
        assert_eq!(count(&s, &dead).await, "3+0", "the messages left");
        for (bdr_id, ..) in &expected[1..] {
            assert!(s.archive(*bdr_id).await.is_some(), "only a failed request loses its ZIP");
        }
    });
}

#[test]
fn a_request_with_two_messages_is_published_once() {
    scenario(async |s| {
        let (source, dead) = (queue(&s).await, queue(&s).await);
        let bdr_id = request(&s, FAILED).await;
        for _ in 0..2 {
            send(&s, &dead, &Scenario::message(bdr_id)).await;
        }
        let redrive =
            ["--queue-url", &source, "--dead-letter-queue-url", &dead, "redrive", "--yes"];
        bdrctl(&s, &redrive).await.ok();
        assert_eq!(published(&s, &source).await, [bdr_id]);
        let empty = bdrctl(&s, &redrive).await.ok();
        assert_eq!(empty.trim(), "The dead-letter queue is empty.");
    });
}

/// Runs the tool with this answer on standard input.
async fn answered(s: &Scenario, arguments: &[&str], answer: &[u8]) -> Ran {
    let mut command = command(s, s.stack.endpoint(), arguments);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(answer).await.unwrap();
    ran(s, arguments, child.wait_with_output().await.unwrap())
}

#[test]
fn discard_asks_then_deletes_messages_that_no_redrive_can_help() {
    const PAST_EXPIRY: &str = "status = 'ready', completed_at = now() - interval '8 days',
                               expires_at = now() - interval '1 day'";
    // Apart: a cleanup of another scenario would expire the row.
    scenario_apart(async |s| {
        let (source, dead) = (queue(&s).await, queue(&s).await);
        let failed = request(&s, FAILED).await;
        let pending = request(&s, "status = 'pending'").await;
        let running = request(&s, "status = 'failed', started_at = now()").await;
        let expired = request(&s, PAST_EXPIRY).await;
        for bdr_id in [failed, pending, running, expired, Uuid::new_v4()] {
            send(&s, &dead, &Scenario::message(bdr_id)).await;
        }
        send(&s, &dead, "not a request").await;
        let before = (s.row(failed).await, s.row(expired).await);
        let discard =
            ["--queue-url", &source, "--dead-letter-queue-url", &dead, "redrive", "--discard"];

        let unanswered = bdrctl(&s, &discard).await;
        assert!(unanswered.err.starts_with("Delete 4 messages? "), "{}", unanswered.err);
        assert!(unanswered.err.contains("nothing was changed"), "{}", unanswered.err);
        let text = unanswered.ok();
        let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap().to_owned();
        assert!(line("not a request").contains("would be deleted"), "{text}");
        let expired_line = line(&expired.to_string());
        assert!(expired_line.contains(" expired ") && expired_line.contains("would be deleted"));
        answered(&s, &discard, b"no\n").await.ok();
        assert_eq!(count(&s, &dead).await, "6+0", "nothing was deleted");

        let done = answered(&s, &discard, b"y\n").await;
        assert_eq!(done.status, Some(1), "messages are left: {}", done.out);
        assert_eq!(count(&s, &dead).await, "2+0");
        let left = bdrctl(&s, &[&["--json"], &discard[..]].concat()).await.json();
        let mut left: Vec<_> =
            left.as_array().unwrap().iter().map(|m| m["bdr_id"].clone()).collect();
        left.sort_by_key(Value::to_string);
        let mut open = vec![json!(pending), json!(running)];
        open.sort_by_key(Value::to_string);
        assert_eq!(left, open);
        assert_eq!((s.row(failed).await, s.row(expired).await), before);
        assert!(s.archive(failed).await.is_some() && s.archive(expired).await.is_some());
        assert!(published(&s, &source).await.is_empty());

        s.set(pending, FAILED).await;
        s.set(running, "started_at = now() - interval '1 hour'").await;
        bdrctl(&s, &[&discard[..], &["--yes"]].concat()).await.ok();
        assert_eq!(count(&s, &dead).await, "0+0");
        let empty = bdrctl(&s, &[&["--json"], &discard[..]].concat()).await;
        assert_eq!((empty.out.trim(), empty.err.trim()), ("[]", "The dead-letter queue is empty."));
    });
}

#[test]
fn a_redrive_killed_before_any_step_loses_nothing() {
    let steps = [
        (Service::Sqs, "ReceiveMessage"),
        (Service::S3, "DeleteObjects"),
        (Service::Sqs, "SendMessage"),
        (Service::Sqs, "DeleteMessage"),
    ];
    scenario(async |s| {
        for (service, operation) in steps {
            let (source, dead) = (queue(&s).await, queue(&s).await);
            let bdr_id = request(&s, FAILED).await;
            send(&s, &dead, &Scenario::message(bdr_id)).await;
            let redrive = [
                ["--queue-url", &source],
                ["--dead-letter-queue-url", &dead],
                ["redrive", "--yes"],
                ["--visibility-timeout", "1"],
            ]
            .concat();

            let target = Target::Nth(service, operation.to_owned(), 1);
            let script = Arc::new(Script::new(vec![(target, Fault::Hold)]));
            let aws = s.stack.endpoint();
            let proxy = HttpProxy::start(Arc::clone(&script), aws, aws).await.unwrap();
            let mut child = command(&s, &proxy.endpoint(), &redrive).spawn().unwrap();
            tokio::select! {
                () = script.wait_for_hold() => {}
                status = child.wait() => panic!("{operation} was never called: {status:?}"),
            }
            child.kill().await.unwrap();
            drop(proxy);

            // The row is reopened in one transaction.
            let status = s.row(bdr_id).await["status"].clone();
            let reopened = operation == "SendMessage" || operation == "DeleteMessage";
            assert_eq!(status, if reopened { "pending" } else { "failed" }, "{operation}");
            s.wait("the message to be visible again", async || {
                let waits = count(&s, &dead).await == "1+0";
                Ok(waits.then_some(()))
            })
            .await;
            bdrctl(&s, &redrive).await.ok();
            assert_reopened(&s, bdr_id).await;
            let sent = published(&s, &source).await;
            assert!(!sent.is_empty() && sent.iter().all(|id| *id == bdr_id), "{operation}");
            assert_eq!(count(&s, &dead).await, "0+0", "{operation}");
        }
    });
}

#[test]
fn a_rejected_step_leaves_the_message() {
    scenario(async |s| {
        let (source, dead) = (queue(&s).await, queue(&s).await);
        let bdr_id = request(&s, FAILED).await;
        send(&s, &dead, &Scenario::message(bdr_id)).await;
        let nowhere = format!("{}/000000000000/nowhere", s.stack.endpoint());
        for (flag, value, status) in
            [("--bucket", "no-such-bucket", "failed"), ("--queue-url", &nowhere, "pending")]
        {
            let dead_flag = ["--dead-letter-queue-url", &dead, "--json", "redrive", "--yes"];
            let ran = bdrctl(&s, &[&[flag, value][..], &dead_flag].concat()).await;
            let messages: Value = serde_json::from_str(&ran.out).unwrap();
            assert!(messages[0]["error"].is_string() && messages[0]["done"] == false, "{messages}");
            ran.failed();
            assert_eq!(s.row(bdr_id).await["status"], status);
            assert_eq!(count(&s, &dead).await, "1+0");
        }
        let queues = ["--queue-url", &source, "--dead-letter-queue-url", &dead];
        bdrctl(&s, &[&queues[..], &["redrive", "--yes"]].concat()).await.ok();
        assert_eq!(published(&s, &source).await, [bdr_id]);
    });
}
