//! Seven days later, at once: the row's time is over, and the deployed cleanup leaves nothing of the
//! archive.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bdrctl::Operator;
use local_stack::{LocalStack, http};
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{
    Checks, Scene,
    download::{Download, presign},
    outcome::Row,
};
use crate::console::{Console, seconds};

/// What was left once the cleanup had run.
#[derive(Debug)]
pub(crate) struct Expiry {
    cleanup: Duration,
    report: Value,
    row: Row,
    /// The status that S3 answers when it is asked for the object.
    object: u16,
    /// The status at the URL that was good for the download.
    url: u16,
    /// What the API is told at the next click.
    presigned: Value,
}

impl Expiry {
    /// Ends the request's time, runs the cleanup, and looks at what is left.
    pub(crate) async fn bring_about(
        stack: &LocalStack,
        operator: &Operator,
        database: &Client,
        scene: &Scene,
        ready: &Row,
        download: &Download,
    ) -> Result<Self> {
        let key = ready.file_path.as_deref().context("the row is ready but has no file_path")?;
        let changed = database
            .execute(
                "UPDATE batch_download_requests SET expires_at = now() - interval '1 minute'
                 WHERE id = $1",
                &[&scene.request_id],
            )
            .await
            .context("expires_at cannot be moved into the past")?;
        ensure!(changed == 1, "the request's row has gone");

        let begun = Instant::now();
        let report = stack.invoke("CleanupExpiredBdrsFunctionName", &json!({})).await?;
        let cleanup = begun.elapsed();
        let fetched = http::client()?.get(&download.url).send().await?;
        Ok(Self {
            cleanup,
            report,
            row: Row::read(database, scene.request_id).await?,
            object: head(stack, key).await?,
            url: fetched.status().as_u16(),
            presigned: presign(operator, scene, scene.artist_id).await?,
        })
    }

    pub(crate) fn check(&self, checks: &mut Checks) {
        checks.group("the cleanup expires this request, and nothing else", |checks| {
            let expected = json!({
                "status": "success",
                "cleaned_up": 1,
                "rescued": 0,
                "republished": 0,
                "orphans_deleted": 0,
                "orphans_unknown": 0,
                "purged": 0,
                "more": false,
                "errors": null,
            });
            checks.same_json("the cleanup's report", &expected, &self.report);
        });
        checks.group("the row is expired, without path and size", |checks| {
            checks.equal("the expired row's status", &"expired", &self.row.status.as_str());
            checks.equal("the expired row's file_path", &None, &self.row.file_path);
            checks.equal("the expired row's file_size_bytes", &None, &self.row.file_size_bytes);
        });
        checks.group("the archive is gone, and the URL from before leads nowhere", |checks| {
            checks.equal("HeadObject of the archive", &404, &self.object);
            checks.equal("the status at the URL from before", &404, &self.url);
        });
        checks.group("the API is told that the download has expired", |checks| {
            let expected = json!({"status": "expired"});
            checks.same_json("the answer to a click after the end", &expected, &self.presigned);
        });
    }

    pub(crate) fn print(&self, console: &Console) {
        let Row { status, file_path, file_size_bytes, .. } = &self.row;
        let row = format!(
            "{status}, file_path {}, file_size_bytes {}",
            json!(file_path),
            json!(file_size_bytes)
        );
        let report = ["status", "cleaned_up", "errors"]
            .map(|name| format!("{name} {}", self.report[name]))
            .join(", ");
        console.line("Once its time was over:");
        for (what, found) in [
            ("cleanup", seconds(self.cleanup)),
            ("its report", report),
            ("row", row),
            ("HeadObject", self.object.to_string()),
            ("the URL from before", self.url.to_string()),
            ("the next click", self.presigned.to_string()),
        ] {
            console.line(&format!("  {what:<22} {found}"));
        }
    }
}

/// The status that S3 answers when it is asked for an object.
async fn head(stack: &LocalStack, key: &str) -> Result<u16> {
    match stack.s3().head_object().bucket(stack.bucket()?).key(key).send().await {
        Ok(_) => Ok(200),
        Err(error) => match error.raw_response() {
            Some(answer) => Ok(answer.status().as_u16()),
            None => Err(error).context("S3 does not answer"),
        },
    }
}
