//! Which attempt may change a row, and when.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use bdr_tests::proxy::{DatabaseWire, Fault, Script, Target};
use bdr_tests::{Artwork, Delivery, Scenario, scenario, scenario_apart};
use local_stack::remote::RemoteHost;
use serde_json::{Value, json};
use shared::config::Environment;
use shared::database::{Database, DatabaseError, DatabaseSource};
use shared::request::{Change, Claimed, ClosedRow, Requests};
use shared::sqid::Sqid;
use shared::vault::ArchiveKey;
use uuid::Uuid;

#[test]
fn a_closed_request_is_skipped_unchanged() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        for status in ["ready", "failed", "expired"] {
            let bdr_id = s.request(&[post]).await;
            s.set(bdr_id, &format!("status = '{status}'")).await;
            let before = s.row(bdr_id).await;
            assert_eq!(s.worker(&[]).await.receive(bdr_id).await, Delivery::Acknowledged);
            assert_eq!(s.log.outcome()["result"], "skipped");
            assert_eq!(s.row(bdr_id).await, before);
        }
        assert!(s.emails().await.is_empty());
    });
}

#[test]
fn a_claim_takes_over_a_dead_attempt_with_a_greater_token() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        // As if the server's clock had been set back in the meantime.
        let left = "status = 'processing', started_at = '2199-01-01 00:00:00.000001Z',
                    error_message = 'old', completed_at = now()";
        s.set(bdr_id, left).await;
        assert_eq!(s.worker(&[]).await.receive(bdr_id).await, Delivery::Acknowledged);
        let row = s.row(bdr_id).await;
        assert_eq!((&row["status"], &row["error_message"]), (&json!("ready"), &Value::Null));
        assert_eq!(row["started_at"], "2199-01-01T00:00:00.000002+00:00");
    });
}

/// Processes a request whose only artwork fails, transiently (503) or permanently (404), and runs
/// the statement `meanwhile` while the artwork is being fetched.
async fn failing_while(s: &Scenario, status: u16, meanwhile: &str) -> (Uuid, Delivery) {
    let url = s.stack.admin_database_url().to_owned();
    let (sql, status) = (meanwhile.to_owned(), StatusCode::from_u16(status).unwrap());
    let answer = async move || {
        let (client, connection) =
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(&sql).await.unwrap();
        status
    };
    let host = RemoteHost::with_routes(Router::new().route("/x", get(answer))).unwrap();
    let art_url = Some(Some(host.url("/x")));
    let post = s.artwork(Artwork { file: None, art_url, ..Artwork::default() }).await;
    let bdr_id = s.request(&[post]).await;
    let worker = s.worker(&[("REMOTE_ALLOW_HOSTS", host.authority())]).await;
    (bdr_id, worker.receive(bdr_id).await)
}

#[test]
fn a_superseded_attempt_changes_nothing_and_does_not_acknowledge() {
    scenario(async |s| {
        for status in [503, 404] {
            let newer = format!(
                "UPDATE batch_download_requests SET started_at = '2199-01-01Z' WHERE user_id = {}",
                s.user_id
            );
            let (bdr_id, delivery) = failing_while(&s, status, &newer).await;
            // Not acknowledged: the message must still be there if the newer attempt crashes.
            assert_eq!(delivery, Delivery::BackLater);
            let row = s.row(bdr_id).await;
            assert_eq!(
                (&row["status"], &row["error_message"]),
                (&json!("processing"), &Value::Null)
            );
            assert_eq!(s.log.outcome()["result"], "superseded");
        }
        assert!(s.emails().await.is_empty(), "the attempt that ends the request sends the e-mail");
    });
}

#[test]
fn a_request_closed_meanwhile_is_acknowledged() {
    scenario(async |s| {
        for (status, closed) in [(503, "status = 'ready'"), (404, "status = 'expired'")] {
            let close = format!(
                "UPDATE batch_download_requests SET {closed} WHERE user_id = {}",
                s.user_id
            );
            let (bdr_id, delivery) = failing_while(&s, status, &close).await;
            assert_eq!(delivery, Delivery::Acknowledged);
            assert_eq!(
                format!("status = {}", s.row(bdr_id).await["status"]),
                closed.replace('\'', "\"")
            );
            assert_eq!(s.log.outcome()["result"], "closed");
        }
        assert!(s.emails().await.is_empty(), "the attempt that closed the row sends the e-mail");
    });
}

#[test]
fn a_request_deleted_meanwhile_is_acknowledged() {
    scenario(async |s| {
        let delete = format!("DELETE FROM batch_download_requests WHERE user_id = {}", s.user_id);
        let (_, delivery) = failing_while(&s, 404, &delete).await;
        assert_eq!(delivery, Delivery::Acknowledged);
    });
}

fn requests(url: &str) -> Requests {
    let environment = Environment::of([("DATABASE_URL", url)]);
    let source = DatabaseSource::from_environment(&environment).unwrap();
    Requests::new(Arc::new(Database::new(source, None)))
}

#[test]
fn a_repeated_statement_recognizes_its_own_change() {
    scenario(async |s| {
        let later = tokio::time::Instant::now() + Duration::from_mins(5);
        let key = |bdr_id| ArchiveKey::new(&Sqid::parse(&s.user_sqid).unwrap(), bdr_id);
        let requests = requests(&s.database_url);
        let claim = async |bdr_id| match requests.claim(bdr_id).await.unwrap() {
            Claimed::Ours(claim) => claim,
            other => panic!("{other:?}"),
        };

        let bdr_id = s.request(&[1]).await;
        let (older, newer) = (claim(bdr_id).await, claim(bdr_id).await);
        assert_eq!(requests.release(&older).await.unwrap(), Change::Superseded);
        for _ in 0..2 {
            assert_eq!(requests.release(&newer).await.unwrap(), Change::Done(()));
        }
        assert_eq!(requests.fail(&newer, "late").await.unwrap(), Change::Superseded);
        for _ in 0..2 {
            let ready = requests.ready(&older, &key(bdr_id), 1, 7, later).await.unwrap();
            assert!(matches!(ready, Change::Done(_)), "any attempt may set ready: {ready:?}");
        }
        let other = requests.ready(&newer, &key(bdr_id), 1, 7, later).await.unwrap();
        let with_archive = Change::Closed(ClosedRow::WithArchive);
        assert_eq!(other, with_archive, "only one attempt sets ready");

        let bdr_id = s.request(&[1]).await;
        let holder = claim(bdr_id).await;
        for _ in 0..2 {
            assert_eq!(requests.fail(&holder, "gone").await.unwrap(), Change::Done(()));
        }
        let closed = Change::Closed(ClosedRow::WithoutArchive);
        assert_eq!(requests.release(&holder).await.unwrap(), closed);
        let ready = requests.ready(&holder, &key(bdr_id), 1, 7, later).await.unwrap();
        let closed = Change::Closed(ClosedRow::WithoutArchive);
        assert_eq!(ready, closed, "a failed row stays failed");
    });
}

/// Holds the statement that contains `text`, so that it takes effect after its retry, and checks that
/// the token of the retry stays in the row.
async fn claim_late(s: &Scenario, status: &str, text: &str) {
    let bdr_id = s.request(&[1]).await;
    s.set(bdr_id, &format!("status = '{status}', started_at = now()")).await;
    let script = Arc::new(Script::new(vec![(Target::Containing(text.to_owned()), Fault::Hold)]));
    let proxy = DatabaseWire::start(Arc::clone(&script), &s.database_url).await.unwrap();
    let requests = requests(proxy.url());
    // A statement is retried on a connection that existed before.
    assert!(requests.find(bdr_id).await.unwrap().is_some());
    let Claimed::Ours(claim) = requests.claim(bdr_id).await.unwrap() else {
        panic!("not claimed");
    };
    assert_eq!(script.struck().len(), 1, "its first try is held");
    script.let_go();
    // The proxy closes the connection of the first try once the server has responded.
    s.wait("the late claim", async || {
        let connections = "SELECT count(*) FROM pg_stat_activity
                            WHERE usename = 'makapix_bdr' AND datname = current_database()";
        let count: i64 = s.database.query_one(connections, &[]).await?.get(0);
        Ok((count == 1).then_some(()))
    })
    .await;
    assert_eq!(requests.release(&claim).await.unwrap(), Change::Done(()), "{status}");
}

#[test]
fn a_claim_that_takes_effect_late_replaces_no_token() {
    scenario_apart(async |s| claim_late(&s, "pending", "r.status = 'pending'").await);
}

#[test]
fn a_takeover_that_takes_effect_late_replaces_no_token() {
    scenario_apart(async |s| claim_late(&s, "processing", "IS NOT DISTINCT FROM $2").await);
}

#[test]
fn ready_has_no_effect_after_its_deadline() {
    scenario(async |s| {
        let bdr_id = s.request(&[1]).await;
        let requests = requests(&s.database_url);
        let Claimed::Ours(claim) = requests.claim(bdr_id).await.unwrap() else {
            panic!("not claimed");
        };
        let key = ArchiveKey::new(&Sqid::parse(&s.user_sqid).unwrap(), bdr_id);
        let past = tokio::time::Instant::now();
        let late = requests.ready(&claim, &key, 1, 7, past).await;
        assert!(matches!(late, Err(DatabaseError::TooLate)), "{late:?}");
        assert_eq!(s.row(bdr_id).await["status"], "processing");
        let in_time = past + Duration::from_mins(1);
        let ready = requests.ready(&claim, &key, 1, 7, in_time).await.unwrap();
        assert!(matches!(ready, Change::Done(_)), "{ready:?}");
        let again = requests.ready(&claim, &key, 1, 7, past).await.unwrap();
        assert_eq!(again, ready, "its own change is recognized at any time");
    });
}

/// Processes a request through a proxy that drops the responses of the first `count` updates to
/// `ready`.
async fn ready_with_lost_responses(s: &Scenario, count: usize) -> (Uuid, Delivery) {
    let bdr_id = s.request(&[s.artwork(Artwork::default()).await]).await;
    let lost = (Target::Containing("SET status = 'ready'".to_owned()), Fault::LostAnswer);
    let script = Arc::new(Script::new(vec![lost; count]));
    let proxy = DatabaseWire::start(Arc::clone(&script), &s.database_url).await.unwrap();
    let worker = s.worker(&[("DATABASE_URL", proxy.url())]).await;
    let delivery = worker.receive(bdr_id).await;
    assert_eq!(script.struck().len(), count);
    (bdr_id, delivery)
}

#[test]
fn the_email_is_sent_although_the_response_of_ready_is_lost_four_times() {
    scenario(async |s| {
        let (bdr_id, delivery) = ready_with_lost_responses(&s, 4).await;
        assert_eq!(delivery, Delivery::Acknowledged);
        assert_eq!(s.row(bdr_id).await["status"], "ready");
        let outcome = s.log.outcome();
        assert_eq!((&outcome["result"], &outcome["email"]), (&json!("ready"), &json!("sent")));
        assert_eq!(s.emails().await.len(), 1);
    });
}

#[test]
fn the_email_is_sent_although_ready_has_no_response_until_the_guard() {
    scenario(async |s| {
        let bdr_id = s.request(&[s.artwork(Artwork::default()).await]).await;
        let ready = || Target::Containing("SET status = 'ready'".to_owned());
        let script =
            Arc::new(Script::new(vec![(ready(), Fault::LostAnswer), (ready(), Fault::Hold)]));
        let proxy = DatabaseWire::start(Arc::clone(&script), &s.database_url).await.unwrap();
        let mut worker = s.worker(&[("DATABASE_URL", proxy.url())]).await;
        // The row must be `ready` 10 s before the deadline, so after 14 s.
        worker.time_left = Duration::from_secs(24);
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(script.struck().len(), 2);
        let outcome = s.log.outcome();
        assert_eq!((&outcome["result"], &outcome["email"]), (&json!("ready"), &json!("sent")));
        assert_eq!(s.emails().await.len(), 1);
    });
}

#[test]
fn leftover_uploads_are_aborted_after_the_row_is_ready() {
    scenario(async |s| {
        let bdr_id = s.request(&[s.artwork(Artwork::default()).await]).await;
        let key = s.archive_key(bdr_id);
        s.s3.create_multipart_upload().bucket(s.bucket()).key(key).send().await.unwrap();
        let held = vec![(Target::Containing("SET status = 'ready'".to_owned()), Fault::Hold)];
        let script = Arc::new(Script::new(held));
        let proxy = DatabaseWire::start(Arc::clone(&script), &s.database_url).await.unwrap();
        let worker = s.worker(&[("DATABASE_URL", proxy.url())]).await;
        let message = Scenario::message(bdr_id);
        let (delivery, ()) = futures_util::join!(worker.receive_again(&message, 2), async {
            script.wait_for_hold().await;
            assert_eq!(s.open_uploads().await, 1);
            script.let_go();
        });
        assert_eq!(delivery, Delivery::Acknowledged);
        assert_eq!(s.open_uploads().await, 0);
    });
}
