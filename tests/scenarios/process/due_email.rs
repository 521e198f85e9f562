//! An e-mail is sent although the attempt that closed the row never learned that it did.

use std::sync::Arc;
use std::time::Duration;

use bdr_tests::in_process::{Cleaner, now};
use bdr_tests::proxy::{DatabaseWire, Fault, Script, Target};
use bdr_tests::{Artwork, Delivery, Scenario, scenario, scenario_apart};
use serde_json::json;
use shared::clock::Clock;
use uuid::Uuid;

/// Processes the request through a proxy to a database that never responds again from the statement with
/// this text on. `fault` tells whether it still executes that statement.
async fn receive_in_silence(s: &Scenario, bdr_id: Uuid, statement: &str, fault: Fault) {
    let lost = (Target::Containing(statement.to_owned()), fault);
    let gone = (Target::After(1), Fault::LostRequest);
    let script = Arc::new(Script::new([vec![lost], vec![gone; 1000]].concat()));
    let proxy = DatabaseWire::start(script, &s.database_url).await.unwrap();
    let mut worker = s.worker(&[("DATABASE_URL", proxy.url())]).await;
    // The change to `ready` is repeated until 10 s before the deadline, so for about 14 s.
    worker.time_left = Duration::from_secs(24);
    assert_ne!(worker.receive(bdr_id).await, Delivery::Acknowledged);
    assert_eq!(s.log.outcome()["result"], "unsettled");
    assert_eq!(s.emails().await.len(), 0);
}

/// Returns whether the vault has the mark of an e-mail that is due.
async fn is_marked(s: &Scenario, bdr_id: Uuid) -> bool {
    let key = format!("bdr/{bdr_id}.email-due");
    s.s3.head_object().bucket(s.bucket()).key(key).send().await.is_ok()
}

/// Delivers the message twice; returns `result` and `email` of the outcome lines.
async fn receive_twice(s: &Scenario, bdr_id: Uuid) -> Vec<(String, String)> {
    let worker = s.worker(&[]).await;
    let mut outcomes = Vec::new();
    for receive in [2, 3] {
        let delivery = worker.receive_again(&Scenario::message(bdr_id), receive).await;
        assert_eq!(delivery, Delivery::Acknowledged);
        let outcome = s.log.outcome();
        let text = |name: &str| outcome[name].as_str().unwrap_or_default().to_owned();
        outcomes.push((text("result"), text("email")));
    }
    outcomes
}

fn outcomes(first: &str) -> Vec<(String, String)> {
    [(first, "sent"), ("skipped", "")].map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec()
}

#[test]
fn a_database_that_falls_silent_after_ready_costs_no_email() {
    scenario(async |s| {
        let present = s.artwork(Artwork::default()).await;
        let absent = s.artwork(Artwork { file: None, ..Artwork::default() }).await;
        let bdr_id = s.request(&[present, absent]).await;
        receive_in_silence(&s, bdr_id, "SET status = 'ready'", Fault::LostAnswer).await;
        assert_eq!(s.row(bdr_id).await["status"], "ready");
        assert!(is_marked(&s, bdr_id).await);
        assert_eq!(receive_twice(&s, bdr_id).await, outcomes("ready"));
        let emails = s.emails().await;
        assert_eq!(emails.len(), 1);
        assert!(emails[0].text.contains("1 artwork is missing"), "{}", emails[0].text);
        assert!(!is_marked(&s, bdr_id).await);
    });
}

#[test]
fn a_database_that_falls_silent_after_a_failure_costs_no_email() {
    scenario(async |s| {
        let bdr_id = s.request(&[i32::MAX]).await;
        receive_in_silence(&s, bdr_id, "SET status = 'failed'", Fault::LostAnswer).await;
        assert_eq!(s.row(bdr_id).await["status"], "failed");
        assert_eq!(receive_twice(&s, bdr_id).await, outcomes("failed"));
        let emails = s.emails().await;
        assert_eq!(emails.len(), 1);
        assert!(emails[0].text.contains("exist any more"), "{}", emails[0].text);
    });
}

#[test]
fn the_mark_of_a_row_that_was_open_sends_nothing_and_is_deleted_after_two_days() {
    scenario_apart(async |s| {
        let bdr_id = s.request(&[s.artwork(Artwork::default()).await]).await;
        receive_in_silence(&s, bdr_id, "SET status = 'ready'", Fault::LostRequest).await;
        assert_eq!(s.row(bdr_id).await["status"], "processing");
        assert!(is_marked(&s, bdr_id).await);
        assert_eq!(receive_twice(&s, bdr_id).await, outcomes("ready"));
        assert_eq!(s.emails().await.len(), 1);

        let mut cleaner = Cleaner::new(&s, &[]).await;
        for (hours, republished, is_kept) in [(25, 1, true), (49, 0, false)] {
            cleaner.handler.cleanup.clock = Clock::fixed(now() + time::Duration::hours(hours));
            let report = cleaner.run(json!({"only": ["orphans"]})).await.unwrap();
            assert_eq!(report["republished"], republished, "after {hours} h: {report}");
            assert_eq!(is_marked(&s, bdr_id).await, is_kept, "after {hours} h: {report}");
        }
    });
}
