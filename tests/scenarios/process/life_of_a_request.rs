//! The deployed function takes a request from the message to the e-mail.

use bdr_tests::web::WEBP;
use bdr_tests::{Artwork, Scenario, scenario};
use insta::{assert_json_snapshot, assert_snapshot};
use local_stack::seed;
use serde_json::Value;
use time::macros::datetime;
use uuid::Uuid;

/// Returns snapshot settings that replace values which differ in every run.
pub(crate) fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "[uuid]");
    settings.add_filter(r"u[0-9a-f]{11}\b", "[user]");
    settings.add_filter(r"20(2[6-9]|[3-9]\d)-\d\d-\d\d[T ][0-9:.]+(Z|\+00:00)?", "[now]");
    settings.add_filter(r"\d+ \w+ 20\d\d, \d\d:\d\d UTC", "[date]");
    settings.add_filter(r#""(\w+_ms|size_bytes|gb_seconds)": [0-9.e-]+"#, r#""$1": "[number]""#);
    settings.add_filter(r#""xrayTraceId": ".*""#, r#""xrayTraceId": "[id]""#);
    settings.add_filter(r"\d+(\.\d)? (bytes|kB)", "[size]");
    settings
}

/// Content of the request's bitmap.
const BITMAP: [u8; 4096] = [7; 4096];

/// Inserts a request with all options set and every kind of artwork, comment and reaction.
async fn seed_request(s: &Scenario) -> Uuid {
    let sqid = |letter: &str| Some(format!("{letter}{}", s.user_sqid));
    let art = |letter, title| Artwork { sqid: sqid(letter), title, ..Artwork::default() };

    let still = s.artwork(art("p", "Größe & <Ärger>")).await;
    let bitmap = Artwork {
        file: Some(&BITMAP),
        file_format: Some(".BMP"),
        created_at: datetime!(1975-01-01 0:00 UTC),
        ..art("b", "Bitmap")
    };
    let bitmap = s.artwork(bitmap).await;
    let url = s.remote.put(&format!("/{}.webp", s.user_sqid), "image/webp", WEBP.to_vec());
    let remote = Artwork {
        file: None,
        art_url: Some(Some(url)),
        file_format: Some("webp"),
        ..art("w", "From the web")
    };
    let remote = s.artwork(remote).await;
    let empty = Artwork { file: Some(b""), file_format: None, ..art("e", "Nothing") };
    let empty = s.artwork(empty).await;
    let gone = s.artwork(Artwork { file: None, ..art("g", "Gone") }).await;

    let comment = seed::Comment {
        post_id: still,
        author_id: Some(s.user_id),
        body: "second".to_owned(),
        hidden_by_mod: false,
        deleted_by_owner: false,
        created_at: datetime!(2025-05-06 9:00 UTC),
    };
    let first = seed::Comment {
        author_id: None,
        body: "first \u{1f600}\n\"quoted\"".to_owned(),
        created_at: datetime!(2025-05-06 8:00 UTC),
        ..comment.clone()
    };
    let hidden =
        seed::Comment { body: "hidden".to_owned(), hidden_by_mod: true, ..comment.clone() };
    let deleted =
        seed::Comment { body: "deleted".to_owned(), deleted_by_owner: true, ..comment.clone() };
    let on_gone = seed::Comment { post_id: gone, body: "Where is it?".to_owned(), ..first.clone() };
    for comment in [comment, first, hidden, deleted, on_gone] {
        comment.insert(&s.database).await.unwrap();
    }
    seed::react(&s.database, still, "\u{2764}\u{fe0f}", 2).await.unwrap();
    seed::react(&s.database, still, "\u{1f525}", 5).await.unwrap();
    seed::react(&s.database, gone, "\u{1f622}", 1).await.unwrap();

    let request = seed::Request {
        user_id: s.user_id,
        post_ids: vec![bitmap, still, remote, bitmap, gone, empty, i32::MAX],
        include_comments: true,
        include_reactions: true,
        send_email: true,
    };
    request.insert(&s.database).await.unwrap()
}

/// Waits until the deployed function has logged `count` outcome lines for a request, and returns
/// them.
async fn outcomes(s: &Scenario, bdr_id: Uuid, count: usize) -> Vec<Value> {
    s.wait("the outcome lines", async || {
        let lines = s.stack.function_logs().await?;
        let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let outcomes: Vec<Value> = lines
            .filter(|line| line["bdr_id"] == bdr_id.to_string() && line.get("result").is_some())
            .collect();
        Ok((outcomes.len() >= count).then_some(outcomes))
    })
    .await
}

#[test]
fn a_request_becomes_a_zip_a_ready_row_and_an_email() {
    scenario(async |s| {
        let bdr_id = seed_request(&s).await;
        s.publish(bdr_id).await;

        let row = s.wait_for(bdr_id, "ready").await;
        assert_eq!(row["file_path"], s.archive_key(bdr_id));
        assert_eq!(row["artwork_count"], 7, "the function never writes the API's column");
        let zip = s.archive(bdr_id).await.expect("the ZIP");
        assert_eq!(row["file_size_bytes"], zip.bytes.len());
        let expiry = "SELECT (expires_at - completed_at)::text, error_message IS NULL
                        FROM batch_download_requests WHERE id = $1";
        let expiry = s.database.query_one(expiry, &[&bdr_id]).await.unwrap();
        assert_eq!((expiry.get::<_, &str>(0), expiry.get(1)), ("7 days", true));
        assert_eq!(zip.content(&format!("artworks/b{}.bmp", s.user_sqid)), BITMAP);
        assert_eq!(s.open_uploads().await, 0);

        let outcome = outcomes(&s, bdr_id, 1).await.remove(0);
        let emails = s.emails().await;
        assert_eq!(emails.len(), 1);
        settings().bind(|| {
            assert_snapshot!("listing", without_json_sizes(&zip.listing()));
            for name in ["metadata.json", "comments.json", "reactions.json"] {
                assert_snapshot!(name, text(&zip.content(name)));
            }
            assert_snapshot!("email_subject", emails[0].subject);
            assert_snapshot!("email_text", emails[0].text);
            assert_snapshot!("email_html", emails[0].html.as_deref().unwrap_or_default());
            assert_json_snapshot!("outcome", outcome);
        });
    });
}

/// Removes the sizes and CRCs of the JSON files, which depend on the ids and times in them.
fn without_json_sizes(listing: &str) -> String {
    let lines = listing.lines().map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [method, mode, .., name] if !name.starts_with("artworks/") => {
            format!("{method} {mode} … {name}\n")
        }
        _ => format!("{line}\n"),
    });
    lines.collect()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn publishing_twice_makes_one_zip_and_one_email() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        s.publish(bdr_id).await;
        s.publish(bdr_id).await;
        s.wait_for(bdr_id, "ready").await;
        let outcomes = outcomes(&s, bdr_id, 2).await;
        assert_eq!(outcomes.iter().filter(|line| line["result"] == "ready").count(), 1);
        assert_eq!(s.emails().await.len(), 1);
    });
}

#[test]
fn a_malformed_message_becomes_a_dead_letter_and_blocks_no_other() {
    scenario(async |s| {
        let queue = s.stack.queue_url().unwrap();
        let dead = s.stack.dead_letter_queue_url().unwrap();
        let body = format!("{{\"bdr_id\": \"not a uuid\", \"of\": \"{}\"}}", s.user_sqid);
        s.sqs.send_message().queue_url(queue).message_body(&body).send().await.unwrap();
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        s.publish(bdr_id).await;
        s.wait_for(bdr_id, "ready").await;
        s.wait("the malformed message in the dead-letter queue", async || {
            let received = s.sqs.receive_message().queue_url(dead).max_number_of_messages(10);
            let received = received.visibility_timeout(1).send().await?;
            Ok(received
                .messages()
                .iter()
                .any(|message| message.body() == Some(&body))
                .then_some(()))
        })
        .await;
    });
}

#[test]
fn a_request_that_fails_transiently_is_retried_until_it_succeeds() {
    scenario(async |s| {
        // An attempt tries four times and the host fails five times, so the second attempt
        // succeeds.
        let url = s.remote.url(&format!("/flaky/5/503/{}", s.user_sqid));
        let late = Artwork { file: None, art_url: Some(Some(url)), ..Artwork::default() };
        let post = s.artwork(late).await;
        let bdr_id = s.request(&[post]).await;
        s.publish(bdr_id).await;
        s.wait_for(bdr_id, "ready").await;
        assert_eq!(s.archive(bdr_id).await.unwrap().names().len(), 4);
        let outcomes = outcomes(&s, bdr_id, 2).await;
        let results: Vec<_> = outcomes
            .iter()
            .map(|line| (line["result"].as_str(), line["receive_count"].as_u64()))
            .collect();
        assert_eq!(results, [(Some("retried"), Some(1)), (Some("ready"), Some(2))]);
    });
}
