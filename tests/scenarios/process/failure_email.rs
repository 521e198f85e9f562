//! An artist who asked for e-mail is told once when a request has failed for good.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bdr_tests::{Artwork, Delivery, Scenario, scenario, scenario_apart};
use insta::assert_snapshot;
use local_stack::{SentEmail, seed};
use uuid::Uuid;

use crate::process::email::give_ses;
use crate::process::life_of_a_request::settings;
use crate::process::retries::unavailable;

/// A request for two artworks that are gone.
async fn hopeless(s: &Scenario) -> Uuid {
    let gone = Artwork { file: None, ..Artwork::default() };
    let posts = [s.artwork(gone.clone()).await, s.artwork(Artwork { sqid: None, ..gone }).await];
    s.request(&posts).await
}

/// Receives the request with these further variables; it fails for good. Returns what the artist
/// was sent; the log says `email`.
async fn fails(
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
fn a_request_that_fails_for_good_is_told_of_once() {
    scenario(async |s| {
        let bdr_id = hopeless(&s).await;
        let emails = fails(&s, bdr_id, &[], "sent").await;
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
fn only_the_last_receive_of_a_request_that_might_have_gone_well_is_told_of() {
    scenario(async |s| {
        let bdr_id = unavailable(&s).await;
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
        let bdr_id = hopeless(&s).await;
        s.set(bdr_id, "send_email = false").await;
        assert!(fails(&s, bdr_id, &[], "not wanted").await.is_empty());
    });
}

#[test]
fn an_operator_can_turn_emails_about_failures_off() {
    scenario(async |s| {
        let bdr_id = hopeless(&s).await;
        let off = [("EMAIL_ON_FAILURE", "false")];
        assert!(fails(&s, bdr_id, &off, "not wanted").await.is_empty());
    });
}

#[test]
fn a_malformed_row_still_says_whom_to_tell() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        s.set(bdr_id, "post_ids = '{{1,2},{3,4}}'").await;
        let emails = fails(&s, bdr_id, &[], "sent").await;
        assert!(emails[0].text.contains("your ZIP.\n"), "{}", emails[0].text);
    });
}

#[test]
fn an_artist_without_a_public_id_is_led_to_the_site() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        let user = "UPDATE users SET public_sqid = NULL WHERE id = $1";
        s.database.execute(user, &[&s.user_id]).await.unwrap();
        let emails = fails(&s, bdr_id, &[], "sent").await;
        assert!(emails[0].text.contains("\nhttps://makapix.club\n"), "{}", emails[0].text);
    });
}

#[test]
fn nobody_is_told_of_a_request_of_nobody() {
    scenario(async |s| {
        let request =
            seed::Request { user_id: s.user_id, send_email: true, ..seed::Request::default() };
        let bdr_id = request.insert(&s.database).await.unwrap();
        // The foreign key forbids it; a restored backup or another schema may not.
        s.database.batch_execute("SET session_replication_role = replica").await.unwrap();
        s.set(bdr_id, "user_id = 0").await;
        assert!(fails(&s, bdr_id, &[], "skipped").await.is_empty());
    });
}

#[test]
fn an_artist_who_cannot_be_looked_up_is_not_told_and_the_request_fails_all_the_same() {
    scenario_apart(async |s| {
        let bdr_id = hopeless(&s).await;
        s.database.batch_execute("ALTER TABLE users RENAME COLUMN email TO e_mail").await.unwrap();
        let worker = s.worker(&[]).await;
        let delivery = worker.receive_again(&Scenario::message(bdr_id), 4).await;
        assert_eq!(delivery, Delivery::BackNow);
        assert_eq!(s.row(bdr_id).await["status"], "failed");
        assert_eq!(s.log.outcome()["email"], "skipped");
    });
}

#[test]
fn a_refused_email_about_a_failure_changes_nothing_else() {
    scenario(async |s| {
        let bdr_id = hopeless(&s).await;
        let mut worker = s.worker(&[]).await;
        let (_host, asked) = give_ses(&s, &mut worker, 9, "MessageRejected");
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(s.row(bdr_id).await["status"], "failed");
        assert_eq!(s.log.outcome()["email"], "failed");
        assert_eq!(asked.load(Ordering::SeqCst), 1, "asked once");
    });
}

#[test]
fn no_email_about_a_failure_is_begun_when_no_time_is_left() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        let mut worker = s.worker(&[]).await;
        worker.time_left = Duration::from_secs(4);
        let delivery = worker.receive_again(&Scenario::message(bdr_id), 4).await;
        assert_eq!(delivery, Delivery::BackNow);
        assert_eq!(s.row(bdr_id).await["status"], "failed");
        assert_eq!(s.log.outcome()["email"], "skipped");
        assert!(s.emails().await.is_empty());
    });
}
