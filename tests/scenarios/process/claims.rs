//! Which attempt may change a row, and when.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use bdr_tests::{Artwork, Delivery, Scenario, scenario};
use local_stack::remote::RemoteHost;
use serde_json::{Value, json};
use shared::config::Environment;
use shared::database::{Database, DatabaseSource};
use shared::request::{Change, Claimed, Requests};
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

#[test]
fn a_repeated_statement_recognizes_its_own_change() {
    scenario(async |s| {
        let key = |bdr_id| ArchiveKey::new(&Sqid::parse(&s.user_sqid).unwrap(), bdr_id);
        let requests = Requests::new(Arc::new(Database::new(
            DatabaseSource::from_environment(&Environment::of([("DATABASE_URL", &s.database_url)]))
                .unwrap(),
            None,
        )));
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
            let ready = requests.ready(&older, &key(bdr_id), 1, 7).await.unwrap();
            assert!(matches!(ready, Change::Done(_)), "any attempt may set ready: {ready:?}");
        }
        let other = requests.ready(&newer, &key(bdr_id), 1, 7).await.unwrap();
        assert_eq!(other, Change::Closed, "only one attempt sets ready");

        let bdr_id = s.request(&[1]).await;
        let holder = claim(bdr_id).await;
        for _ in 0..2 {
            assert_eq!(requests.fail(&holder, "gone").await.unwrap(), Change::Done(()));
        }
        assert_eq!(requests.release(&holder).await.unwrap(), Change::Closed);
        let ready = requests.ready(&holder, &key(bdr_id), 1, 7).await.unwrap();
        assert_eq!(ready, Change::Closed, "a failed row stays failed");
    });
}
