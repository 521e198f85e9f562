//! The artist's click on "Download": the API invokes the deployed function for a URL, and the browser
//! requests it.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use local_stack::http;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    Checks, Demo,
    checks::{take, time},
};

/// Seconds between the response and the URL's end: `DownloadUrlTtlSeconds`, less the time that
/// signing may take.
const URL_LIFE: RangeInclusive<i64> = 870..=900;

/// A downloaded archive.
#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) zip: Vec<u8>,
    pub(crate) url: String,
    pub(crate) presigning: Duration,
    pub(crate) fetching: Duration,
}

impl Download {
    /// Downloads the archive, and checks the responses of the function and of S3. Returns `None` if
    /// one of the two rejects the request.
    pub(crate) async fn fetch(
        demo: &Demo<'_>,
        row: &Value,
        checks: &mut Checks,
    ) -> Result<Option<Self>> {
        let begun = Instant::now();
        let mut answer = demo.presign(demo.scene.artist_id).await?;
        let presigning = begun.elapsed();
        let Some(url) = answer["url"].as_str().map(str::to_owned) else {
            let (expected, actual) = (format_args!("one with a URL"), format_args!("{answer}"));
            checks.holds("the response to the artist's click", false, expected, actual);
            return Ok(None);
        };
        // All parts of the system use the database's clock.
        let now = demo.database.query_one("SELECT clock_timestamp()", &[]).await;
        let now = now.context("failed to read the database's clock")?.get(0);
        let to_others = demo.presign(demo.scene.friend_id).await?;
        let id = demo.scene.request_id.to_string();
        let filename = format!("makapix-artworks-{}.zip", &id[..8]);
        checks.group("the API gets a URL for 15 minutes, for the artist alone", |checks| {
            check_life(&mut answer, now, checks);
            let expected = json!({
                "status": "ok",
                "url": url,
                "filename": filename,
                "size_bytes": row["file_size_bytes"],
            });
            checks.same_json("the response to the artist's click", &expected, &answer);
            let expected = json!({"status": "not_found"});
            checks.same_json("the response to another user's click", &expected, &to_others);
        });

        let begun = Instant::now();
        let answer = http::client()?.get(&url).send().await?;
        checks.group(&format!("the archive is downloaded there, as {filename}"), |checks| {
            checks.equal("the download's status", 200, answer.status().as_u16());
            let disposition = answer.headers().get("content-disposition");
            checks.equal(
                "the download's Content-Disposition",
                Some(format!("attachment; filename=\"{filename}\"").as_str()),
                disposition.and_then(|value| value.to_str().ok()),
            );
        });
        if !answer.status().is_success() {
            return Ok(None);
        }
        let zip = answer.bytes().await.context("the download was interrupted")?.to_vec();
        Ok(Some(Self { zip, url, presigning, fetching: begun.elapsed() }))
    }
}

impl Demo<'_> {
    /// Invokes the deployed function for a URL, as the API does when this user clicks.
    pub(crate) async fn presign(&self, user_id: i32) -> Result<Value> {
        self.operator.presign(self.scene.request_id, user_id.into()).await
    }
}

/// Checks when the URL expires, and removes that from the response.
fn check_life(answer: &mut Value, now: OffsetDateTime, checks: &mut Checks) {
    let expires = take(answer, "url_expires_at");
    let life = time(&expires).map(|time| (time - now).whole_seconds());
    checks.holds(
        "the response to the artist's click /url_expires_at",
        life.is_some_and(|life| URL_LIFE.contains(&life)),
        format_args!("a time {} to {} s after {now}", URL_LIFE.start(), URL_LIFE.end()),
        format_args!("{expires}"),
    );
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_url_must_expire_within_15_minutes_and_not_long_before() {
        let holds = |url_expires_at: Value| {
            let mut checks = Checks::default();
            let mut answer = json!({"status": "ok", "url_expires_at": url_expires_at});
            check_life(&mut answer, datetime!(2025-01-01 12:00:00.5 UTC), &mut checks);
            assert_eq!(answer, json!({"status": "ok"}));
            checks.all_hold()
        };
        assert!(holds(json!("2025-01-01T12:15:00Z")));
        assert!(holds(json!("2025-01-01T13:14:59+01:00")));
        assert!(!holds(json!("2025-01-01T12:15:02Z")));
        assert!(!holds(json!("2025-01-01T12:10:00Z")));
        assert!(!holds(json!("soon")));
        assert!(!holds(json!(null)));
    }
}
