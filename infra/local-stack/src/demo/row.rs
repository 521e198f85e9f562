//! The request's row and its message after the work.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_sqs::types::QueueAttributeName::{
    ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible,
};
use local_stack::{LocalStack, wait_until};
use serde_json::{Value, json};

use super::{Checks, Demo, Scene, checks::time, scene::ARTIST_SQID};

impl Demo<'_> {
    /// Reads the request's row; times are text.
    pub(crate) async fn row(&self) -> Result<Value> {
        let query = "SELECT to_jsonb(r)::text FROM batch_download_requests AS r WHERE r.id = $1";
        let row = self.database.query_one(query, &[&self.scene.request_id]).await;
        Ok(serde_json::from_str(row.context("failed to read the request's row")?.get(0))?)
    }
}

/// Checks that there is an archive.
pub(crate) fn is_ready(row: &Value, checks: &mut Checks) -> bool {
    checks.equal(
        "the row's status and error_message",
        [&json!("ready"), &Value::Null],
        [&row["status"], &row["error_message"]],
    );
    row["status"] == "ready"
}

pub(crate) fn check(scene: &Scene, row: &Value, size: usize, checks: &mut Checks) {
    checks.group("the row is ready, with path, size and the day it expires", |checks| {
        let path = json!(format!("bdr/{ARTIST_SQID}/{}.zip", scene.request_id));
        checks.equal("the row's file_path", &path, &row["file_path"]);
        checks.equal("the row's file_size_bytes", &json!(size), &row["file_size_bytes"]);
        let requested = json!(scene.posts.len());
        checks.equal("the row's artwork_count, never written", &requested, &row["artwork_count"]);

        let times = ["created_at", "started_at", "completed_at"].map(|name| time(&row[name]));
        checks.holds(
            "the row's created_at, started_at and completed_at",
            times.iter().all(Option::is_some) && times.is_sorted(),
            "three times in ascending order",
            times,
        );
        let [.., completed] = times;
        let life = time(&row["expires_at"]).zip(completed).map(|(end, begin)| end - begin);
        checks.holds(
            "the row's expires_at",
            life.is_some_and(|life| (life - time::Duration::WEEK).abs() < time::Duration::SECOND),
            "seven days after completed_at",
            life.map(|life| life.to_string()),
        );
    });
}

/// Checks that the message is gone, and that the dead-letter queue is empty.
pub(crate) async fn check_queues(stack: &LocalStack, checks: &mut Checks) -> Result<()> {
    let queue = stack.queue_url()?;
    // The acknowledgement follows the row's update.
    let emptied = wait_until("the acknowledgement", Duration::from_secs(10), async || {
        Ok((messages(stack, queue).await? == 0).then_some(()))
    });
    let acknowledged = emptied.await.is_ok();
    let dead = messages(stack, stack.dead_letter_queue_url()?).await?;
    let summary = "the message is acknowledged, and nothing is in the dead-letter queue";
    checks.group(summary, |checks| {
        checks.equal("the message is acknowledged", true, acknowledged);
        checks.equal("messages in the dead-letter queue", 0, dead);
    });
    Ok(())
}

/// Returns the number of messages in a queue, including those in flight.
async fn messages(stack: &LocalStack, queue_url: &str) -> Result<i64> {
    let names = [ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible];
    let sqs = stack.sqs();
    let get = sqs.get_queue_attributes().queue_url(queue_url);
    let found = get.set_attribute_names(Some(names.to_vec())).send().await;
    let found = found.context("failed to read a queue's attributes")?;
    let count = |name| found.attributes()?.get(name)?.parse::<i64>().ok();
    let counts: Option<Vec<i64>> = names.iter().map(count).collect();
    Ok(counts.context("SQS returned no number of messages")?.iter().sum())
}
