//! An artist who asked for e-mail gets one when the request has failed permanently.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bdr_tests::{Artwork, Delivery, Scenario, scenario, scenario_apart};
use insta::assert_snapshot;
use local_stack::{SentEmail, seed};
use uuid::Uuid;

use crate::process::email::give_ses;
use crate::process::life_of_a_request::settings;
use crate::process::retries::request_unavailable_artworks;

/// Inserts a request for two artworks whose files are missing.
async fn request_missing_artworks(s: &Scenario) -> Uuid {
    let gone = Artwork { file: None, ..Artwork::default() };
    let posts = [s.artwork(gone.clone()).await, s.artwork(Artwork { sqid: None, ..gone }).await];
    s.request(&posts).await
}

/// Receives the request with these additional variables and checks that it fails permanently and
/// that the outcome line has this `email`. Returns the e-mails sent to the artist.
async fn fail_permanently(
    s: &Scenario,
    bdr_id: Uuid,
    variables: &[(&str, &str)],
    email: &str,
) -> Vec<SentEmail> {
    let worker = s.worker(variables).await;
    assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
    assert_eq!(s.row(bdr_id).await["status"], "failed");
    assert_eq!(s.log.outcome()["email"], email);
    s.emails().await
}

#[test]
fn a_permanent_failure_is_emailed_once() {
    scenario(async |s| {
        let bdr_id = request_missing_artworks(&s).await;
        let emails = fail_permanently(&s, bdr_id, &[], "sent").await;
        assert_eq!(emails.len(), 1);
        settings().bind(|| {
            assert_snapshot!("failure_subject", emails[0].subject);
            assert_snapshot!("failure_text", emails[0].text);
            assert_snapshot!("failure_html", emails[0].html.as_deref().unwrap_or_default());
        });
        let again = s.worker(&[]).await.receive(bdr_id).await;
        assert_eq!((again, s.emails().await.len()), (Delivery::Acknowledged, 1));
    });
}

#[test]
fn a_transient_failure_is_emailed_on_the_last_receive_only() {
    scenario(async |s| {
        let bdr_id = request_unavailable_artworks(&s).await;
        let worker = s
            .worker(&[("REMOTE_ALLOW_HOSTS", s.remote.authority()), ("RETRY_BASE_SECONDS", "4")])
            .await;
        for receive_count in 1..=4 {
            let delivery = worker.receive_again(&Scenario::message(bdr_id), receive_count).await;
            let (outcome, emails) = (s.log.outcome(), s.emails().await);
            if receive_count < 4 {
                assert_eq!((delivery, emails.len()), (Delivery::BackLater, 0));
                assert!(outcome.get("email").is_none(), "{outcome}");
            } else {
                assert_eq!((delivery, emails.len()), (Delivery::BackNow, 1));
                assert_eq!(outcome["email"], "sent");
                assert!(emails[0].text.contains("Something went wrong on our side"));
            }
            worker.drain().await;
        }
    });
}

#[test]
fn an_artist_who_did_not_ask_for_email_gets_none() {
    scenario(async |s| {
        let bdr_id = request_missing_artworks(&s).await;
        s.set(bdr_id, "send_email = false").await;
        assert!(fail_permanently(&s, bdr_id, &[], "not wanted").await.is_empty());
    });
}

#[test]
fn an_operator_can_turn_failure_emails_off() {
    scenario(async |s| {
        let bdr_id = request_missing_artworks(&s).await;
        let off = [("EMAIL_ON_FAILURE", "false")];
        assert!(fail_permanently(&s, bdr_id, &off, "not wanted").await.is_empty());
    });
}

#[test]
fn a_malformed_row_still_identifies_the_artist() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        s.set(bdr_id, "post_ids = '{{1,2},{3,4}}'").await;
        let emails = fail_permanently(&s, bdr_id, &[], "sent").await;
        assert!(emails[0].text.contains("your ZIP.\n"), "{}", emails[0].text);
    });
}

#[test]
fn an_artist_without_a_public_id_gets_the_site_link() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        let user = "UPDATE users SET public_sqid = NULL WHERE id = $1";
        s.database.execute(user, &[&s.user_id]).await.unwrap();
        let emails = fail_permanently(&s, bdr_id, &[], "sent").await;
        assert!(emails[0].text.contains("\nhttps://makapix.club\n"), "{}", emails[0].text);
    });
}

#[test]
fn a_request_without_an_account_sends_no_email() {
    scenario(async |s| {
        let request =
            seed::Request { user_id: s.user_id, send_email: true, ..seed::Request::default() };
        let bdr_id = request.insert(&s.database).await.unwrap();
        // The foreign key forbids it, but a restored backup or another schema may allow it.
        s.database.batch_execute("SET session_replication_role = replica").await.unwrap();
        s.set(bdr_id, "user_id = 0").await;
        assert!(fail_permanently(&s, bdr_id, &[], "skipped").await.is_empty());
    });
}

#[test]
fn a_failed_address_lookup_skips_the_email_and_fails_the_request() {
    scenario_apart(async |s| {
        let bdr_id = request_missing_artworks(&s).await;
        s.database.batch_execute("ALTER TABLE users RENAME COLUMN email TO e_mail").await.unwrap();
        let worker = s.worker(&[]).await;
        let delivery = worker.receive_again(&Scenario::message(bdr_id), 4).await;
        assert_eq!(delivery, Delivery::BackNow);
        assert_eq!(s.row(bdr_id).await["status"], "failed");
        assert_eq!(s.log.outcome()["email"], "skipped");
    });
}

#[test]
fn a_rejected_failure_email_changes_nothing_else() {
    scenario(async |s| {
        let bdr_id = request_missing_artworks(&s).await;
        let mut worker = s.worker(&[]).await;
        let (_host, requests) = give_ses(&s, &mut worker, 9, "MessageRejected");
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(s.row(bdr_id).await["status"], "failed");
        assert_eq!(s.log.outcome()["email"], "failed");
        assert_eq!(requests.load(Ordering::SeqCst), 1, "one request");
    });
}

#[test]
fn an_attempt_without_time_left_changes_nothing_and_sends_nothing() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        let mut worker = s.worker(&[]).await;
        worker.time_left = Duration::from_secs(3);
        let delivery = worker.receive_again(&Scenario::message(bdr_id), 4).await;
        assert_eq!(delivery, Delivery::BackNow);
        // A change of the row would have left no time for its e-mail.
        assert_eq!(s.row(bdr_id).await["status"], "processing");
        assert_eq!(s.log.outcome()["result"], "unsettled");
        assert!(s.emails().await.is_empty());
    });
}
