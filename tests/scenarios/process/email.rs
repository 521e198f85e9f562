//! The e-mail is sent at most once and never fails the job.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use bdr_tests::{Artwork, Delivery, Scenario, Worker, scenario};
use local_stack::remote::RemoteHost;
use process_bdr_job::email::Mailer;
use serde_json::json;
use uuid::Uuid;

use crate::process::retries::Panics;

async fn request(s: &Scenario) -> Uuid {
    let post = s.artwork(Artwork::default()).await;
    s.request(&[post]).await
}

/// Gives the worker an SES that returns this error code `failures` times and then succeeds. Returns
/// the SES host and the count of its requests.
pub(crate) fn give_ses(
    s: &Scenario,
    worker: &mut Worker,
    failures: u32,
    code: &str,
) -> (RemoteHost, Arc<AtomicU32>) {
    let (requests, code) = (Arc::new(AtomicU32::new(0)), code.to_owned());
    let count = Arc::clone(&requests);
    let answer = async move || {
        if count.fetch_add(1, Ordering::SeqCst) < failures {
            let error = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
                 <Message>about someone@example.org</Message></Error></ErrorResponse>"
            );
            return (StatusCode::BAD_REQUEST, error);
        }
        let sent = "<SendEmailResponse><SendEmailResult><MessageId>1</MessageId>\
                    </SendEmailResult></SendEmailResponse>";
        (StatusCode::OK, sent.to_owned())
    };
    let host = RemoteHost::with_routes(Router::new().route("/", post(answer))).unwrap();
    let config = aws_sdk_ses::config::Builder::from(&s.stack.sdk_config())
        .endpoint_url(host.url(""))
        .retry_config(aws_sdk_ses::config::retry::RetryConfig::disabled())
        .build();
    let client = aws_sdk_ses::Client::from_conf(config);
    let sender = Some("no-reply@makapix.club".to_owned());
    worker.handler.job.notifier.mailer = Mailer::new(client, sender, None);
    (host, requests)
}

#[test]
fn a_rejected_email_is_logged_and_does_not_fail_the_job() {
    scenario(async |s| {
        let bdr_id = request(&s).await;
        let mut worker = s.worker(&[]).await;
        let (_host, requests) = give_ses(&s, &mut worker, 1, "MessageRejected");
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(s.row(bdr_id).await["status"], "ready");
        assert_eq!(s.log.outcome()["email"], "failed");
        assert_eq!(requests.load(Ordering::SeqCst), 1, "one request");
        let lines = s.log.lines();
        let error = lines.iter().find(|line| line["level"] == "ERROR").expect("an error is logged");
        assert_eq!(error["error"], "SES answered MessageRejected");
        assert!(!format!("{lines:?}").contains('@'), "no address is logged");
    });
}

#[test]
fn a_panic_in_the_email_step_leaves_the_request_ready() {
    scenario(async |s| {
        let bdr_id = request(&s).await;
        let mut worker = s.worker(&[]).await;
        let ses = aws_sdk_ses::config::Builder::from(&s.stack.sdk_config());
        let ses = aws_sdk_ses::Client::from_conf(ses.interceptor(Panics).build());
        let sender = Some("no-reply@makapix.club".to_owned());
        worker.handler.job.notifier.mailer = Mailer::new(ses, sender, None);
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);

        let row = s.row(bdr_id).await;
        assert_eq!(row["status"], "ready");
        let outcome = s.log.outcome();
        assert_eq!(
            (&outcome["result"], &outcome["email"], &outcome["artworks"], &outcome["missing"]),
            (&json!("ready"), &json!("failed"), &json!(1), &json!(0)),
            "{outcome}"
        );
        assert_eq!(outcome["size_bytes"], row["file_size_bytes"]);
        let emitted = s.log.emitted();
        let ready = emitted.iter().find(|line| line["status"] == "ready").expect("a wide event");
        assert_eq!(
            (&ready["bdr_status_total"], &ready["bdr_email_failed_total"]),
            (&json!(1), &json!(1))
        );
        assert_eq!(ready["bdr_file_size_bytes"], row["file_size_bytes"]);
        assert_eq!(ready["bdr_artworks_count"], 1);
    });
}

#[test]
fn a_throttled_email_is_retried() {
    scenario(async |s| {
        let bdr_id = request(&s).await;
        let mut worker = s.worker(&[]).await;
        let (_host, requests) = give_ses(&s, &mut worker, 1, "Throttling");
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(s.log.outcome()["email"], "sent");
        assert_eq!(requests.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn without_a_sender_the_email_is_skipped_and_logged() {
    scenario(async |s| {
        let bdr_id = request(&s).await;
        assert_eq!(
            s.worker(&[("EMAIL_FROM", "")]).await.receive(bdr_id).await,
            Delivery::Acknowledged
        );
        assert_eq!(s.log.outcome()["email"], "skipped");
        assert!(s.emails().await.is_empty());
    });
}

#[test]
fn an_address_is_normalized_or_skipped_with_a_reason() {
    scenario(async |s| {
        let worker = s.worker(&[]).await;
        let address = async |address: &str| {
            let sql = "UPDATE users SET email = $1 WHERE id = $2";
            s.database.execute(sql, &[&address, &s.user_id]).await.unwrap();
            let bdr_id = request(&s).await;
            assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
            let outcome = s.log.outcome();
            (outcome["email"].clone(), outcome["email_skipped"].clone())
        };
        assert_eq!(address(&format!("  {}\t", s.email)).await.0, "sent");
        assert_eq!(s.emails().await.len(), 1, "to the address without its spaces");
        let (email, reason) = address("noa@nowhere").await;
        assert_eq!((email, reason), (json!("skipped"), json!("the artist's address is invalid")));
    });
}
