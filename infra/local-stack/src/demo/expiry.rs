//! The end of the seven days, brought about at once: the row expires, and the deployed cleanup deletes
//! the archive.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use local_stack::{LocalStack, http};
use serde_json::{Value, json};

use super::{Checks, Demo};
use crate::console::seconds;

/// Expires the request, runs the cleanup, and checks what is left. `ready` is the row before, `url`
/// the URL that the archive was downloaded from. Returns the findings by name.
pub(crate) async fn check(
    demo: &Demo<'_>,
    ready: &Value,
    url: &str,
    checks: &mut Checks,
) -> Result<[(&'static str, String); 6]> {
    let key = ready["file_path"].as_str().context("the row is ready but has no file_path")?;
    let expire = "UPDATE batch_download_requests SET expires_at = now() - interval '1 minute'
                  WHERE id = $1";
    let changed = demo.database.execute(expire, &[&demo.scene.request_id]).await;
    ensure!(changed.context("failed to set expires_at")? == 1, "the request's row is missing");

    let begun = Instant::now();
    let report = demo.stack.invoke("CleanupExpiredBdrsFunctionName", &json!({})).await?;
    let cleanup = begun.elapsed();
    let url = http::client()?.get(url).send().await?.status().as_u16();
    let object = head(demo.stack, key).await?;
    let click = demo.presign(demo.scene.artist_id).await?;
    let row = demo.row().await?;

    checks.group("the cleanup expires this request, and nothing else", |checks| {
        let expected = json!({
            "status": "success", "cleaned_up": 1, "more": false, "errors": null,
            "rescued": 0, "republished": 0, "purged": 0,
            "orphans_deleted": 0, "orphans_unknown": 0,
        });
        checks.same_json("the cleanup's report", &expected, &report);
    });
    checks.group("the row is expired, without path and size", |checks| {
        checks.equal("the expired row's status", &json!("expired"), &row["status"]);
        checks.equal("the expired row's file_path", &Value::Null, &row["file_path"]);
        checks.equal("the expired row's file_size_bytes", &Value::Null, &row["file_size_bytes"]);
    });
    checks.group("the archive is deleted, and its URL no longer works", |checks| {
        checks.equal("HeadObject of the archive", 404, object);
        // S3 itself responds 403, because the role of presign-bdr-download has no s3:ListBucket.
        checks.equal("the status at its URL", 404, url);
    });
    checks.group("a further click returns the status expired", |checks| {
        let expected = json!({"status": "expired"});
        checks.same_json("the response to a click after the end", &expected, &click);
    });

    let report = ["status", "cleaned_up", "errors"].map(|name| format!("{name} {}", report[name]));
    let row =
        ["status", "file_path", "file_size_bytes"].map(|name| format!("{name} {}", row[name]));
    Ok([
        ("cleanup", seconds(cleanup)),
        ("its report", report.join(", ")),
        ("row", row.join(", ")),
        ("HeadObject", object.to_string()),
        ("the URL from before", url.to_string()),
        ("the next click", click.to_string()),
    ])
}

/// Returns the status of S3's response to a `HeadObject`.
async fn head(stack: &LocalStack, key: &str) -> Result<u16> {
    let head = stack.s3().head_object().bucket(stack.bucket()?).key(key).send().await;
    let Err(error) = head else { return Ok(200) };
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    status.map_or_else(|| Err(error).context("failed to reach S3"), Ok)
}
