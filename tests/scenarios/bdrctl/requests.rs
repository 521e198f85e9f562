//! `submit`, `status`, `watch`, `link` and `retry`.

use bdr_tests::{Artwork, scenario, scenario_apart};
use serde_json::{Value, json};

use super::{FAILED, assert_reopened, bdrctl, published, queue, request};

#[test]
fn a_request_is_submitted_watched_shown_and_downloaded() {
    scenario(async |s| {
        let posts = [s.artwork(Artwork::default()).await, s.artwork(Artwork::default()).await];
        let (user, posts) = (s.user_id.to_string(), format!("{},{}", posts[0], posts[1]));
        let submit =
            ["--json", "submit", "--user", &user, "--posts", &posts, "--comments", "--email"];
        let submitted = bdrctl(&s, &submit).await.json();
        assert_eq!((&submitted["inserted"], &submitted["published"]), (&json!(true), &json!(true)));
        let id = submitted["bdr_id"].as_str().unwrap();

        let watched = bdrctl(&s, &["watch", id]).await.ok();
        assert!(watched.lines().last().unwrap().trim().starts_with("ready"), "{watched}");
        let row = s.row(id.parse().unwrap()).await;
        assert_eq!((&row["artwork_count"], &row["include_comments"]), (&json!(2), &json!(true)));
        assert_eq!((&row["include_reactions"], &row["send_email"]), (&json!(false), &json!(true)));

        let status = bdrctl(&s, &["status", id]).await.ok();
        insta::with_settings!({filters => vec![
            (id, "[id]"), (&s.user_sqid, "[sqid]"), (r"user \d+", "user [n]"),
            (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "[time]"), (r"ready for \w+", "ready for [age]"),
            (r"\d+ bytes", "[n] bytes"),
        ]}, { insta::assert_snapshot!("status", status) });

        let url = bdrctl(&s, &["link", id]).await.ok();
        assert_eq!(url.lines().count(), 1, "the URL and nothing else");
        let response = local_stack::http::client().unwrap().get(url.trim()).send().await.unwrap();
        let zip = response.error_for_status().unwrap().bytes().await.unwrap();
        assert_eq!(zip, s.archive(id.parse().unwrap()).await.unwrap().bytes);
        let linked = bdrctl(&s, &["--json", "link", id]).await.json();
        assert_eq!((&linked["status"], &linked["size_bytes"]), (&json!("ok"), &json!(zip.len())));
    });
}

#[test]
fn an_existing_request_is_published_unless_it_is_closed() {
    scenario(async |s| {
        let queue = queue(&s).await;
        let submit = async |id: &str| bdrctl(&s, &["submit", id, "--queue-url", &queue]).await;
        let bdr_id = s.request(&[1]).await;
        submit(&bdr_id.to_string()).await.ok();
        assert_eq!(published(&s, &queue).await, [bdr_id]);

        s.set(bdr_id, FAILED).await;
        assert!(submit(&bdr_id.to_string()).await.failed().contains("`bdrctl retry "));
        s.set(bdr_id, "status = 'ready'").await;
        assert!(submit(&bdr_id.to_string()).await.failed().contains("is ready"));
        let unknown = uuid::Uuid::new_v4().to_string();
        let expected = format!("request {unknown} not found");
        assert!(submit(&unknown).await.failed().contains(&expected));
        assert!(published(&s, &queue).await.is_empty());
    });
}

#[test]
fn a_request_with_future_times_is_found() {
    scenario(async |s| {
        let bdr_id = s.request(&[1]).await;
        for times in [
            // Claimed after the statement began.
            "status = 'processing', started_at = now() + interval '5 seconds'",
            // Inserted by an API whose clock is ahead.
            "status = 'pending', started_at = NULL, created_at = now() + interval '5 seconds'",
        ] {
            s.set(bdr_id, times).await;
            let found = bdrctl(&s, &["--json", "status", &bdr_id.to_string()]).await.json();
            assert_eq!(found["bdr_id"], bdr_id.to_string(), "{times}");
            bdrctl(&s, &["status", &bdr_id.to_string()]).await.ok();
        }
    });
}

#[test]
fn a_row_stays_pending_when_its_publication_fails() {
    scenario(async |s| {
        let user = s.user_id.to_string();
        let nowhere = format!("{}/000000000000/nowhere", s.stack.endpoint());
        let submit = ["submit", "--user", &user, "--posts", "1", "--queue-url", &nowhere];
        let error = bdrctl(&s, &submit).await.failed();
        let (_, id) = error.split_once("run `bdrctl submit ").unwrap();
        let (id, _) = id.split_once("`.").unwrap();
        let id = id.parse().unwrap();
        assert!(error.contains(&format!("failed to publish request {id}")), "{error}");
        assert_eq!(s.row(id).await["status"], "pending");
    });
}

#[test]
fn watch_fails_at_a_failed_request_and_at_its_timeout() {
    scenario(async |s| {
        let bdr_id = s.request(&[1]).await;
        let watch = async |arguments: &[&str]| {
            let id = bdr_id.to_string();
            bdrctl(&s, &[&["--json", "watch", &id][..], arguments].concat()).await
        };
        assert!(watch(&["--timeout", "1s"]).await.failed().contains("still pending"));
        s.set(bdr_id, FAILED).await;
        let failed = watch(&[]).await;
        let line: Value = serde_json::from_str(failed.out.trim()).unwrap();
        assert_eq!(line["status"], "failed");
        failed.failed();
        let refused = bdrctl(&s, &["link", &bdr_id.to_string()]).await;
        assert_eq!(refused.out, "");
        assert!(refused.failed().contains("is failed"));
    });
}

#[test]
fn every_command_calls_a_request_past_its_expiry_expired() {
    // Apart: a cleanup of another scenario would expire the row.
    scenario_apart(async |s| {
        let bdr_id = request(
            &s,
            "status = 'ready', completed_at = now() - interval '8 days',
             expires_at = now() - interval '2 hours'",
        )
        .await;
        let id = bdr_id.to_string();
        let before = s.row(bdr_id).await;
        let status = bdrctl(&s, &["status", &id]).await.ok();
        assert!(status.contains("expired for 2h"), "{status}");
        assert!(status.contains("the next cleanup deletes its archive"), "{status}");
        let status = bdrctl(&s, &["--json", "status", &id]).await.json();
        assert_eq!(
            (&status["status"], &status["awaits_cleanup"]),
            (&json!("expired"), &json!(true))
        );
        for (state, is_listed) in [("expired", true), ("ready", false)] {
            let list = ["status", "--state", state, "--limit", "10000"];
            assert_eq!(bdrctl(&s, &list).await.ok().contains(&id), is_listed, "{state}");
        }
        let watched = bdrctl(&s, &["watch", &id]).await;
        let (line, note) = (watched.out.trim(), watched.err.trim());
        assert!(line.starts_with("expired      2h") && line.ends_with(" ago"), "{line}");
        assert!(note.contains("the next cleanup deletes its archive"), "{note}");
        watched.ok();
        for command in ["retry", "link", "submit"] {
            let error = bdrctl(&s, &[command, &id]).await.failed();
            assert!(error.contains(" expired 2h"), "{command}: {error}");
            assert!(error.contains("the next cleanup deletes its archive"), "{command}: {error}");
        }
        assert_eq!(s.row(bdr_id).await, before);
    });
}

#[test]
fn watch_prints_how_long_ago_a_request_became_ready() {
    scenario(async |s| {
        let ready = "status = 'ready', completed_at = now() - interval '3 hours',
                     expires_at = now() + interval '7 days'";
        let id = request(&s, ready).await.to_string();
        let line = bdrctl(&s, &["watch", &id]).await.ok();
        assert!(line.trim().starts_with("ready        3h"), "{line}");
        assert!(line.trim().ends_with(" ago"), "{line}");
        let line = bdrctl(&s, &["--json", "watch", &id]).await.json();
        let since = bdrctl(&s, &["--json", "status", &id]).await.json()["since"].clone();
        assert_eq!((&line["status"], &line["since"]), (&json!("ready"), &since));
    });
}

#[test]
fn requests_are_listed_by_state_and_age() {
    scenario(async |s| {
        let ids = [request(&s, FAILED).await, s.request(&[1]).await, s.request(&[1]).await];
        s.set(ids[0], "completed_at = now() - interval '3 hours'").await;
        s.set(ids[1], "created_at = now() - interval '2 hours'").await;
        let list = async |arguments: &[&str]| {
            let arguments = [&["--json", "status", "--limit", "10000"][..], arguments].concat();
            let listed = bdrctl(&s, &arguments).await.json();
            let found = |id: &uuid::Uuid| {
                listed.as_array().unwrap().iter().any(|row| row["bdr_id"] == id.to_string())
            };
            ids.each_ref().map(found)
        };
        assert_eq!(list(&[]).await, [true, true, true]);
        assert_eq!(list(&["--state", "pending"]).await, [false, true, true]);
        assert_eq!(list(&["--older-than", "1h"]).await, [true, true, false]);
        let both = ["--older-than", "1h", "--state", "pending", "--state", "processing"];
        assert_eq!(list(&both).await, [false, true, false]);
        let text = bdrctl(&s, &["status", "--state", "failed"]).await.ok();
        assert!(text.lines().next().unwrap().trim().starts_with("request"), "{text}");

        let one = bdrctl(&s, &["--json", "status", &ids[0].to_string()]).await.json();
        assert_eq!(one["error_message"], "x");
    });
}

#[test]
fn a_column_hidden_from_the_functions_role_is_left_out() {
    scenario(async |s| {
        let bdr_id = request(&s, FAILED).await.to_string();
        let url = ["--json", "--database-url", &s.database_url, "status", &bdr_id];
        let one = bdrctl(&s, &url).await.json();
        assert_eq!((&one["status"], &one["error_message"]), (&json!("failed"), &Value::Null));
    });
}

#[test]
fn retry_reopens_a_failed_request_and_rejects_others() {
    scenario(async |s| {
        let queue = queue(&s).await;
        let retry = async |id: uuid::Uuid| {
            bdrctl(&s, &["--json", "retry", &id.to_string(), "--queue-url", &queue]).await
        };
        let bdr_id = request(&s, FAILED).await;
        assert_eq!(retry(bdr_id).await.json()["was"], "failed");
        assert_reopened(&s, bdr_id).await;
        assert_eq!(published(&s, &queue).await, [bdr_id]);
        // As after an interruption.
        assert_eq!(retry(bdr_id).await.json()["was"], "pending");
        assert_eq!(published(&s, &queue).await, [bdr_id]);

        for columns in ["status = 'ready'", "status = 'processing', started_at = now()"] {
            let bdr_id = request(&s, columns).await;
            let before = s.row(bdr_id).await;
            retry(bdr_id).await.failed();
            assert_eq!(s.row(bdr_id).await, before);
            assert!(s.archive(bdr_id).await.is_some());
        }
        assert!(published(&s, &queue).await.is_empty());
    });
}

#[test]
fn retry_waits_for_attempts_that_may_still_run() {
    scenario(async |s| {
        let queue = queue(&s).await;
        let bdr_id = request(&s, FAILED).await;
        s.set(bdr_id, "started_at = now() - interval '15 minutes'").await;
        let before = s.row(bdr_id).await;
        let retry = ["retry", &bdr_id.to_string(), "--queue-url", &queue];
        let error = bdrctl(&s, &retry).await.failed();
        assert!(error.contains("an attempt may be running until 2"), "{error}");
        assert_eq!(s.row(bdr_id).await, before);
        assert!(s.archive(bdr_id).await.is_some(), "a running attempt may have adopted it");
        let submit = ["submit", &bdr_id.to_string(), "--queue-url", &queue];
        bdrctl(&s, &submit).await.failed();
        assert!(published(&s, &queue).await.is_empty());

        s.set(bdr_id, "started_at = now() - interval '17 minutes'").await;
        bdrctl(&s, &retry).await.ok();
        assert_reopened(&s, bdr_id).await;
    });
}
