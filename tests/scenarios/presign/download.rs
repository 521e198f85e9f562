//! The API requests one presigned URL per click.

use std::sync::Arc;

use bdr_tests::in_process::{Cleaner, now, presign};
use bdr_tests::proxy::{DatabaseWire, Fault, Script, Service, Target};
use bdr_tests::{Scenario, scenario_apart};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// Inserts a ready request of the artist with these columns, and its ZIP. Returns its id.
async fn ready_request(s: &Scenario, columns: &str) -> Uuid {
    let bdr_id = s.request(&[1]).await;
    let key = s.archive_key(bdr_id);
    s.set(
        bdr_id,
        &format!("status = 'ready', file_path = '{key}', file_size_bytes = 3, {columns}"),
    )
    .await;
    s.put(&key, b"zip").await;
    bdr_id
}

async fn presign_for_artist(s: &Scenario, bdr_id: Uuid) -> Value {
    presign(s, &[], json!({"bdr_id": bdr_id, "user_id": s.user_id})).await.unwrap()
}

async fn get(url: &str) -> (u16, Option<String>, Vec<u8>) {
    let response = local_stack::http::client().unwrap().get(url).send().await.unwrap();
    let disposition = response.headers().get("content-disposition");
    let disposition = disposition.map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), disposition, response.bytes().await.unwrap().to_vec())
}

/// Returns the seconds from now until `url_expires_at` of the response.
fn seconds_to_expiry(response: &Value) -> i64 {
    let at = OffsetDateTime::parse(response["url_expires_at"].as_str().unwrap(), &Rfc3339).unwrap();
    (at - now()).whole_seconds()
}

#[test]
fn a_ready_zip_is_downloaded_under_its_name() {
    scenario_apart(async |s| {
        let bdr_id = ready_request(&s, "expires_at = now() + interval '7 days'").await;
        let response = presign_for_artist(&s, bdr_id).await;
        let filename = format!("makapix-artworks-{}.zip", &bdr_id.to_string()[..8]);
        assert_eq!(
            (&response["status"], &response["filename"], &response["size_bytes"]),
            (&json!("ok"), &json!(filename), &json!(3))
        );
        assert!((880..=900).contains(&seconds_to_expiry(&response)), "{response}");
        let url = response["url"].as_str().unwrap();
        assert!(url.contains("X-Amz-Expires=900"), "{url}");
        let (status, disposition, bytes) = get(url).await;
        assert_eq!((status, &bytes[..]), (200, &b"zip"[..]));
        assert_eq!(disposition.unwrap(), format!("attachment; filename=\"{filename}\""));
        assert!(!format!("{:?}", s.log.lines()).contains("X-Amz-Signature"), "no URL is logged");
    });
}

#[test]
fn a_url_never_outlives_its_zip() {
    scenario_apart(async |s| {
        let bdr_id = ready_request(&s, "expires_at = now() + interval '100 seconds'").await;
        let response = presign_for_artist(&s, bdr_id).await;
        assert!((80..=100).contains(&seconds_to_expiry(&response)), "{response}");
        let url = response["url"].as_str().unwrap();
        assert_eq!(get(url).await.0, 200);
        // The archive expires.
        s.set(bdr_id, "expires_at = now() - interval '1 second'").await;
        assert_eq!(
            presign_for_artist(&s, bdr_id).await,
            json!({"status": "expired"}),
            "before the cleanup runs"
        );
        Cleaner::new(&s, &[]).await.run(json!({})).await.unwrap();
        assert_eq!(presign_for_artist(&s, bdr_id).await, json!({"status": "expired"}));
        // S3 itself responds 403, because the role of presign-bdr-download has no s3:ListBucket.
        assert_eq!(get(url).await.0, 404);
    });
}

#[test]
fn every_state_has_its_response() {
    scenario_apart(async |s| {
        let bdr_id = ready_request(&s, "expires_at = NULL").await;
        assert_eq!(presign_for_artist(&s, bdr_id).await["status"], "ok", "a row without expiry");
        for status in ["pending", "processing", "failed"] {
            s.set(bdr_id, &format!("status = '{status}'")).await;
            assert_eq!(
                presign_for_artist(&s, bdr_id).await,
                json!({"status": "not_ready", "bdr_status": status})
            );
        }
        s.set(bdr_id, "status = 'expired', file_path = NULL").await;
        assert_eq!(presign_for_artist(&s, bdr_id).await, json!({"status": "expired"}));
    });
}

#[test]
fn a_request_of_another_artist_is_not_found() {
    scenario_apart(async |s| {
        let bdr_id = ready_request(&s, "expires_at = now() + interval '1 day'").await;
        for (bdr_id, user_id) in [(bdr_id, s.user_id + 1), (Uuid::new_v4(), s.user_id)] {
            let payload = json!({"bdr_id": bdr_id, "user_id": user_id});
            assert_eq!(presign(&s, &[], payload).await.unwrap(), json!({"status": "not_found"}));
        }
    });
}

#[test]
fn a_file_path_that_is_not_an_archive_is_never_signed() {
    scenario_apart(async |s| {
        let bdr_id = ready_request(&s, "expires_at = NULL").await;
        for path in ["'8c/4f/artwork.png'", "NULL", "'bdr/../x.zip'"] {
            s.set(bdr_id, &format!("file_path = {path}")).await;
            let payload = json!({"bdr_id": bdr_id, "user_id": s.user_id});
            assert!(presign(&s, &[], payload).await.is_err(), "{path}");
        }
    });
}

#[test]
fn a_malformed_payload_returns_a_clear_error() {
    scenario_apart(async |s| {
        for payload in [
            json!({}),
            json!({"bdr_id": "x", "user_id": 1}),
            json!([]),
            json!({"bdr_id": Uuid::nil(), "user_id": "1"}),
        ] {
            let error = presign(&s, &[], payload).await.unwrap_err().to_string();
            assert!(error.contains(r#"{"bdr_id": "<uuid>", "user_id": <int>}"#), "{error}");
        }
    });
}

#[test]
fn a_silent_database_is_an_error_with_a_cause_before_the_timeout() {
    scenario_apart(async |s| {
        let bdr_id = ready_request(&s, "expires_at = NULL").await;
        let connect = Target::Nth(Service::Postgres, "connect".to_owned(), 1);
        let script = Arc::new(Script::new(vec![(connect, Fault::Hold)]));
        let silent = DatabaseWire::start(script, &s.database_url).await.unwrap();
        let payload = json!({"bdr_id": bdr_id, "user_id": s.user_id});
        let error = presign(&s, &[("DATABASE_URL", silent.url())], payload).await.unwrap_err();
        let cause = "failed to read the request: the database did not respond within 6 s";
        assert_eq!(error.to_string(), cause);
        let lines = s.log.lines();
        let error = lines.iter().find(|line| line["result"] == "error").expect("an error line");
        assert_eq!((&error["error"], &error["level"]), (&json!(cause), &json!("ERROR")));
    });
}
