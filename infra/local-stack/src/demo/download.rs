//! The artist's click on "Download": the API asks the deployed function for a URL, and the browser
//! goes there.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bdrctl::Operator;
use local_stack::http;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio_postgres::Client;

use super::{Checks, Scene, outcome::Row};
use crate::console::{Console, seconds};

/// Whole seconds that a URL may still live when it has come: `DownloadUrlTtlSeconds`, and the time
/// that its signing may have taken.
const URL_LIFE: RangeInclusive<i64> = 870..=900;

/// What came.
#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) zip: Vec<u8>,
    /// Where it came from.
    pub(crate) url: String,
    presigning: Duration,
    fetching: Duration,
}

impl Download {
    /// Fetches the archive; checks what the function answers, and what the browser is told. There
    /// is nothing to look at when one of the two refuses.
    pub(crate) async fn fetch(
        operator: &Operator,
        database: &Client,
        scene: &Scene,
        row: &Row,
        checks: &mut Checks,
    ) -> Result<Option<Self>> {
        let begun = Instant::now();
        let mut answer = presign(operator, scene, scene.artist_id).await?;
        let presigning = begun.elapsed();
        let Some(url) = answer["url"].as_str().map(str::to_owned) else {
            let (expected, actual) = (format_args!("one with a URL"), format_args!("{answer}"));
            checks.holds("the answer to the artist's click", false, expected, actual);
            return Ok(None);
        };
        let now = now(database).await?;
        let to_others = presign(operator, scene, scene.friend_id).await?;
        let id = scene.request_id.to_string();
        let filename = format!("makapix-artworks-{}.zip", &id[..8]);
        checks.group("the API gets a URL for 15 minutes, for the artist alone", |checks| {
            check_life(&mut answer, now, checks);
            let expected = json!({
                "status": "ok",
                "url": url,
                "filename": filename,
                "size_bytes": row.file_size_bytes,
            });
            checks.same_json("the answer to the artist's click", &expected, &answer);
            let expected = json!({"status": "not_found"});
            checks.same_json("the answer to somebody else's click", &expected, &to_others);
        });

        let begun = Instant::now();
        let answer = http::client()?.get(&url).send().await?;
        let name = format!("the archive is downloaded there, as {filename}");
        checks.group(&name, |checks| {
            checks.equal("the download's status", &200, &answer.status().as_u16());
            let disposition =
                answer.headers().get("content-disposition").and_then(|value| value.to_str().ok());
            checks.equal(
                "the download's Content-Disposition",
                &Some(format!("attachment; filename=\"{filename}\"").as_str()),
                &disposition,
            );
        });
        if !answer.status().is_success() {
            return Ok(None);
        }
        let zip = answer.bytes().await.context("the download broke off")?.to_vec();
        Ok(Some(Self { zip, url, presigning, fetching: begun.elapsed() }))
    }

    pub(crate) fn print(&self, console: &Console) {
        console.line(&format!("  {:<22} {}", "URL for the download", seconds(self.presigning)));
        console.line(&format!("  {:<22} {}", "download", seconds(self.fetching)));
    }
}

/// Asks the deployed function for a URL, as the API does when this user clicks.
pub(crate) async fn presign(operator: &Operator, scene: &Scene, user_id: i32) -> Result<Value> {
    operator.presign(scene.request_id, user_id).await
}

/// Checks when the URL is to die, and takes that out of the answer.
fn check_life(answer: &mut Value, now: OffsetDateTime, checks: &mut Checks) {
    let dies = answer.as_object_mut().and_then(|members| members.remove("url_expires_at"));
    let life = dies
        .as_ref()
        .and_then(Value::as_str)
        .and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok())
        .map(|time| (time - now).whole_seconds());
    checks.holds(
        "the answer to the artist's click /url_expires_at",
        life.is_some_and(|life| URL_LIFE.contains(&life)),
        format_args!("a time {} to {} s after {now}", URL_LIFE.start(), URL_LIFE.end()),
        format_args!("{}", dies.unwrap_or_default()),
    );
}

/// The time by the clock that all parts of the system go by.
async fn now(database: &Client) -> Result<OffsetDateTime> {
    let row = database.query_one("SELECT clock_timestamp()", &[]).await;
    Ok(row.context("the database does not tell the time")?.get(0))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_url_must_die_within_15_minutes_and_not_long_before() {
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
