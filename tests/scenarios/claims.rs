//! Who may change a row, and when.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use bdr_tests::{Artwork, Delivery, Scenario, scenario};
use local_stack::remote::RemoteHost;
use serde_json::{Value, json};
use uuid::Uuid;

#[test]
fn a_closed_request_is_skipped_and_left_as_it_is() {
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
fn a_claim_takes_over_what_a_dead_attempt_left_and_its_token_grows() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        // As if the server's clock had been set back since.
        let left = "status = 'processing', started_at = '2199-01-01 00:00:00.000001Z',
                    error_message = 'old', completed_at = now()";
        s.set(bdr_id, left).await;
        assert_eq!(s.worker(&[]).await.receive(bdr_id).await, Delivery::Acknowledged);
        let row = s.row(bdr_id).await;
        assert_eq!((&row["status"], &row["error_message"]), (&json!("ready"), &Value::Null));
        assert_eq!(row["started_at"], "2199-01-01T00:00:00.000002+00:00");
    });
}

/// A request whose only artwork fails, for now (503) or for good (404), and on whose row `meanwhile`
/// is done while it is being fetched; returns what becomes of the message.
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
fn an_attempt_that_was_superseded_changes_nothing_and_leaves_the_message_alone() {
    scenario(async |s| {
        for status in [503, 404] {
            let newer = format!(
                "UPDATE batch_download_requests SET started_at = '2199-01-01Z' WHERE user_id = {}",
                s.user_id
            );
            let (bdr_id, delivery) = failing_while(&s, status, &newer).await;
            // Not acknowledged: it may have to outlive the newer attempt's crash.
            assert_eq!(delivery, Delivery::BackLater);
            let row = s.row(bdr_id).await;
            assert_eq!(
                (&row["status"], &row["error_message"]),
                (&json!("processing"), &Value::Null)
            );
            assert_eq!(s.log.outcome()["result"], "superseded");
        }
    });
}

#[test]
fn an_attempt_whose_request_was_closed_meanwhile_acknowledges() {
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
            assert_eq!(s.log.outcome()["result"], "closed by another");
        }
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
