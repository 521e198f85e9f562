//! Every bad input ends in a defined state with one outcome line, and no good artwork is lost.

use std::time::Duration;

use bdr_tests::lambda::{Deployed, EventSource, TestQueue};
use bdr_tests::scenario::unique;
use bdr_tests::{Artwork, Delivery, Scenario, scenario};
use serde_json::{Value, json};
use uuid::Uuid;

#[test]
fn a_malformed_message_is_reported_and_visible_at_once() {
    scenario(async |s| {
        let worker = s.worker(&[]).await;
        for body in [
            " ",
            "not JSON",
            "{}",
            r#"{"bdr_id": "7"}"#,
            r#"{"bdr_id": null}"#,
            "[]",
            r#"["8c4f2a00-0000-4000-8000-000000000001"]"#,
        ] {
            assert_eq!(worker.receive_again(body, 1).await, Delivery::BackNow, "{body}");
            let outcome = s.log.outcome();
            assert_eq!(
                (&outcome["result"], &outcome["level"]),
                (&json!("malformed"), &json!("ERROR"))
            );
            // The worker has its own queue. Empty it for the next message.
            assert_eq!(worker.drain().await, 1);
        }
    });
}

#[test]
fn a_malformed_message_does_not_fail_its_neighbours() {
    scenario(async |s| {
        let worker = s.worker(&[]).await;
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        let record = |id: &str, body: &str| {
            json!({
                "messageId": id, "receiptHandle": "none", "body": body,
                "attributes": {"ApproximateReceiveCount": "1"},
            })
        };
        let good = Scenario::message(bdr_id);
        let event = json!({"Records": [record("bad", "{"), record("good", &good)]});
        assert_eq!(worker.invoke(event).await, ["bad"]);
        assert_eq!(s.row(bdr_id).await["status"], "ready");
    });
}

#[test]
fn unknown_message_members_are_ignored() {
    scenario(async |s| {
        let worker = s.worker(&[]).await;
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        let body = json!({"bdr_id": bdr_id, "trace": [1, 2]}).to_string();
        assert_eq!(worker.receive_again(&body, 1).await, Delivery::Acknowledged);
        assert_eq!(s.row(bdr_id).await["status"], "ready");
    });
}

#[test]
fn an_unknown_request_is_logged_and_acknowledged() {
    scenario(async |s| {
        let (unknown, worker) = (Uuid::new_v4(), s.worker(&[]).await);
        for receive_count in 1..=2 {
            let delivery = worker.receive_again(&Scenario::message(unknown), receive_count).await;
            assert_eq!(delivery, Delivery::BackLater);
            assert_eq!(s.log.outcome()["result"], "row_absent");
            worker.drain().await;
        }
        let delivery = worker.receive_again(&Scenario::message(unknown), 3).await;
        assert_eq!(delivery, Delivery::Acknowledged);
        let outcome = s.log.outcome();
        assert_eq!(outcome["result"], "not_found");
        assert_eq!(outcome["bdr_id"], unknown.to_string());
        assert_eq!(outcome["level"], "ERROR");
    });
}

#[test]
fn a_row_committed_after_its_message_is_processed_without_a_republish() {
    scenario(async |s| {
        let bdr_id = s.request(&[s.artwork(Artwork::default()).await]).await;
        let take = "DELETE FROM batch_download_requests AS r
                     WHERE r.id = $1 RETURNING to_jsonb(r)::text";
        let row: String = s.database.query_one(take, &[&bdr_id]).await.unwrap().get(0);
        let deployed = Deployed::process_bdr_job(s.stack).await.unwrap();
        let queue = TestQueue::create(s.sqs.clone(), &unique("q"), deployed.timeout).await.unwrap();
        let logs = tempfile::tempdir().unwrap();
        let changed = vec![("BDR_QUEUE_URL", queue.url().to_owned())];
        let mut source = EventSource::new(&deployed, changed, logs.path().to_owned());
        let message = queue.deliver(bdr_id).await.unwrap();
        source.process(&queue, &message).await.unwrap();
        assert!(source.log().contains("row_absent"), "{}", source.log());
        assert_eq!(queue.len().await.unwrap(), 1);

        let insert = "INSERT INTO batch_download_requests
                      SELECT * FROM jsonb_populate_record(NULL::batch_download_requests,
                                                          $1::text::jsonb)";
        s.database.execute(insert, &[&row]).await.unwrap();
        let deliveries = source.drain(&queue, Duration::from_mins(1)).await.unwrap();
        assert_eq!(deliveries.received, 1, "the same message, a second time");
        assert_eq!(s.row(bdr_id).await["status"], "ready");
    });
}

/// The message about a fault that a new request would meet again.
const LASTING_FAULT: &str = "Something went wrong on our side while we prepared this download, and our \
                             team has to fix it. Requesting it again helps only after that.";

/// Receives the request once and checks that it fails permanently with this message.
async fn check_permanent_failure(s: &Scenario, bdr_id: Uuid, message: &str) {
    assert_eq!(s.worker(&[]).await.receive(bdr_id).await, Delivery::Acknowledged);
    let row = s.row(bdr_id).await;
    assert_eq!((&row["status"], &row["error_message"]), (&json!("failed"), &json!(message)));
    assert_ne!(row["completed_at"], Value::Null);
    let outcome = s.log.outcome();
    assert_eq!((&outcome["result"], &outcome["level"]), (&json!("failed"), &json!("ERROR")));
    assert!(s.archive(bdr_id).await.is_none(), "no ZIP");
    assert_eq!(s.open_uploads().await, 0);
    let emails = s.emails().await;
    assert!(emails.iter().all(|email| !email.subject.contains("ready")), "{emails:?}");
}

#[test]
fn a_request_without_an_account_fails_permanently() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        // The foreign key forbids it, but a restored backup or another schema may allow it.
        s.database.batch_execute("SET session_replication_role = replica").await.unwrap();
        s.set(bdr_id, "user_id = 0").await;
        check_permanent_failure(
            &s,
            bdr_id,
            "The account that requested this download was not found.",
        )
        .await;
    });
}

#[test]
fn a_malformed_row_fails_permanently() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        s.set(bdr_id, "post_ids = '{{1,2},{3,4}}'").await;
        check_permanent_failure(&s, bdr_id, LASTING_FAULT).await;
        let error = s.log.outcome()["error"].to_string();
        assert!(error.contains("the column post_ids"), "{error}");
    });
}

#[test]
fn a_request_without_posts_fails_permanently() {
    scenario(async |s| {
        for post_ids in [&[][..], &[i32::MAX, -1]] {
            let bdr_id = s.request(post_ids).await;
            check_permanent_failure(&s, bdr_id, "None of the requested artworks exist any more.")
                .await;
        }
    });
}

#[test]
fn a_request_whose_artworks_are_all_gone_fails_permanently() {
    scenario(async |s| {
        let gone = s.artwork(Artwork { file: None, ..Artwork::default() }).await;
        let nowhere = s.artwork(Artwork { art_url: Some(None), ..Artwork::default() }).await;
        let bdr_id = s.request(&[gone, nowhere, i32::MAX]).await;
        let message =
            "None of the requested artworks could be downloaded: their files are missing.";
        check_permanent_failure(&s, bdr_id, message).await;
    });
}

#[test]
fn an_unusable_public_id_of_the_artist_fails_permanently() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        let user = "UPDATE users SET public_sqid = $1 WHERE id = $2";
        let hostile = format!("../{}", &s.user_sqid[..8]);
        s.database.execute(user, &[&hostile, &s.user_id]).await.unwrap();
        check_permanent_failure(&s, bdr_id, LASTING_FAULT).await;
    });
}

#[test]
fn a_missing_public_id_without_an_alphabet_is_for_the_team_to_mend() {
    scenario(async |s| {
        // Of all artworks.
        let posts = [s.artwork(Artwork { sqid: None, ..Artwork::default() }).await];
        let bdr_id = s.request(&posts).await;
        check_permanent_failure(&s, bdr_id, LASTING_FAULT).await;
        // Of the artist.
        let bdr_id = s.request(&[s.artwork(Artwork::default()).await]).await;
        let user = "UPDATE users SET public_sqid = NULL WHERE id = $1";
        s.database.execute(user, &[&s.user_id]).await.unwrap();
        check_permanent_failure(&s, bdr_id, LASTING_FAULT).await;
    });
}

#[test]
fn a_missing_public_id_is_derived_from_the_user_id() {
    scenario(async |s| {
        let post = s.artwork(Artwork { sqid: None, ..Artwork::default() }).await;
        let bdr_id = s.request(&[post]).await;
        let user = "UPDATE users SET public_sqid = NULL WHERE id = $1";
        s.database.execute(user, &[&s.user_id]).await.unwrap();
        let alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let worker = s.worker(&[("SQIDS_ALPHABET", alphabet)]).await;
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        let row = s.row(bdr_id).await;
        assert_eq!(row["status"], "ready");
        assert!(!row["file_path"].as_str().unwrap().contains(&s.user_sqid));
    });
}

/// Returns title and reason of every missing artwork in a partial archive.
async fn missing_artworks(
    s: &Scenario,
    variables: &[(&str, &str)],
    posts: &[i32],
) -> Vec<(String, String)> {
    let bdr_id = s.request(posts).await;
    assert_eq!(s.worker(variables).await.receive(bdr_id).await, Delivery::Acknowledged);
    assert_eq!(s.row(bdr_id).await["status"], "ready");
    let zip = s.archive(bdr_id).await.unwrap();
    let metadata = zip.json("metadata.json");
    let missing = metadata["missing_artworks"].as_array().unwrap();
    let outcome = s.log.outcome();
    assert_eq!(outcome["missing"], missing.len());
    assert_eq!(outcome["artworks"], metadata["artwork_count"]);
    assert_eq!(zip.names().len(), metadata["artworks"].as_array().unwrap().len() + 4);
    let text = String::from_utf8(zip.content("MISSING.txt")).unwrap();
    assert_eq!(text.lines().count(), missing.len() + 2, "{text}");
    let warnings = s.log.lines().into_iter().filter(|line| line["level"] == "WARN").count();
    assert_eq!(warnings, missing.len(), "each missing artwork is logged");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    missing.iter().map(|entry| (text(&entry["title"]), text(&entry["reason"]))).collect()
}

#[test]
fn unavailable_artworks_are_listed_and_the_others_delivered() {
    scenario(async |s| {
        let limit = [("MAX_ARTWORK_BYTES", "100")];
        let art = |title, change: fn(&mut Artwork<'static>)| {
            let mut artwork = Artwork { title, ..Artwork::default() };
            change(&mut artwork);
            artwork
        };
        let mut posts = vec![i32::MAX];
        for artwork in [
            art("good", |_| {}),
            art("large", |a| a.file = Some(&[0; 101])),
            art("just right", |a| a.file = Some(&[0; 100])),
            art("no address", |a| a.art_url = Some(None)),
            art("no file", |a| a.file = None),
            art("empty format", |a| a.file_format = Some("")),
            art("hostile format", |a| a.file_format = Some("../../x")),
            art("an archive", |a| a.art_url = Some(Some("/vault/bdr/other/x.zip".into()))),
            art("a climb", |a| a.art_url = Some(Some("/vault/../x".into()))),
            art("a file", |a| a.art_url = Some(Some("file:///etc/passwd".into()))),
            art("loopback", |a| a.art_url = Some(Some("http://127.0.0.1:9001/".into()))),
            art("no public id", |a| a.sqid = None),
            art("hostile public id", |a| {
                a.sqid = Some(format!("a/{}", Uuid::new_v4().simple()).chars().take(16).collect());
            }),
        ] {
            posts.push(s.artwork(artwork).await);
        }
        let missing = missing_artworks(&s, &limit, &posts).await;
        let expected = [
            ("", "This artwork no longer exists."),
            ("large", "This artwork's file is too large."),
            ("no address", "This artwork has no file."),
            ("no file", "This artwork's file was not found."),
            ("hostile format", "This artwork's file format is not supported."),
            ("an archive", "This artwork's file address is not usable."),
            ("a climb", "This artwork's file address is not usable."),
            ("a file", "This artwork's file address is not usable."),
            ("loopback", "This artwork's file address is not usable."),
            ("no public id", "This artwork has no usable public id."),
            ("hostile public id", "This artwork has no usable public id."),
        ];
        let expected = expected.map(|(title, reason)| (title.to_owned(), reason.to_owned()));
        // In the order of the request.
        assert_eq!(missing, expected);
    });
}

#[test]
fn names_that_differ_in_case_only_are_kept_apart() {
    scenario(async |s| {
        let (upper, lower) = (s.user_sqid.to_uppercase(), s.user_sqid.to_lowercase());
        let first = s.artwork(Artwork { sqid: Some(upper.clone()), ..Artwork::default() }).await;
        let second = s.artwork(Artwork { sqid: Some(lower.clone()), ..Artwork::default() }).await;
        let bdr_id = s.request(&[first, second]).await;
        assert_eq!(s.worker(&[]).await.receive(bdr_id).await, Delivery::Acknowledged);
        let zip = s.archive(bdr_id).await.unwrap();
        let metadata = zip.json("metadata.json");
        for (index, name) in
            [format!("{upper}.png"), format!("{lower}_{second}.png")].iter().enumerate()
        {
            assert_eq!(metadata["artworks"][index]["filename"], name.as_str());
            assert_eq!(zip.content(&format!("artworks/{name}")), b"pixels");
        }
    });
}
