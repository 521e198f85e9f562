//! What became of the request: its row, and the message.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_sqs::types::QueueAttributeName;
use local_stack::{LocalStack, wait_until};
use time::OffsetDateTime;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{Checks, Scene};

/// How long an archive can be downloaded.
const WEEK: time::Duration = time::Duration::WEEK;

/// The row as a function left it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) status: String,
    error_message: Option<String>,
    pub(crate) file_path: Option<String>,
    pub(crate) file_size_bytes: Option<i64>,
    artwork_count: i32,
    created_at: OffsetDateTime,
    started_at: Option<OffsetDateTime>,
    completed_at: Option<OffsetDateTime>,
    expires_at: Option<OffsetDateTime>,
}

impl Row {
    pub(crate) async fn read(database: &Client, request_id: Uuid) -> Result<Self> {
        let row = database
            .query_one(
                "SELECT status, error_message, file_path, file_size_bytes, artwork_count,
                        created_at, started_at, completed_at, expires_at
                 FROM batch_download_requests WHERE id = $1",
                &[&request_id],
            )
            .await
            .context("the request's row cannot be read")?;
        Ok(Self {
            status: row.get("status"),
            error_message: row.get("error_message"),
            file_path: row.get("file_path"),
            file_size_bytes: row.get("file_size_bytes"),
            artwork_count: row.get("artwork_count"),
            created_at: row.get("created_at"),
            started_at: row.get("started_at"),
            completed_at: row.get("completed_at"),
            expires_at: row.get("expires_at"),
        })
    }

    /// Whether there is an archive to look at.
    pub(crate) fn is_ready(&self, checks: &mut Checks) -> bool {
        let state = |status: &str| (status.to_owned(), None::<String>);
        checks.equal(
            "the row's status and error_message",
            &state("ready"),
            &(self.status.clone(), self.error_message.clone()),
        );
        self.status == "ready"
    }

    pub(crate) fn check(&self, scene: &Scene, size: usize, checks: &mut Checks) {
        checks.group("the row is ready, with path, size and the day it expires", |checks| {
            let path = format!("bdr/{}/{}.zip", scene.artist_sqid, scene.request_id);
            checks.equal("the row's file_path", &Some(path), &self.file_path);
            checks.equal(
                "the row's file_size_bytes",
                &i64::try_from(size).ok(),
                &self.file_size_bytes,
            );
            let requested = i32::try_from(scene.posts.len()).unwrap_or(i32::MAX);
            checks.equal("the row's artwork_count, never written", &requested, &self.artwork_count);

            let times = [Some(self.created_at), self.started_at, self.completed_at];
            checks.holds(
                "the row's created_at, started_at and completed_at",
                times.iter().all(Option::is_some) && times.is_sorted(),
                "three times, none before the one before it",
                times,
            );
            let life = self.expires_at.zip(self.completed_at).map(|(end, begin)| end - begin);
            checks.holds(
                "the row's expires_at",
                life.is_some_and(|life| (life - WEEK).abs() < time::Duration::SECOND),
                "seven days after completed_at",
                life.map(|life| life.to_string()),
            );
        });
    }
}

/// The message is gone, and nothing is in the dead-letter queue.
pub(crate) async fn check_queues(stack: &LocalStack, checks: &mut Checks) -> Result<()> {
    let queue = stack.queue_url()?;
    // The acknowledgement comes a moment after the row.
    let emptied = wait_until("the acknowledgement", Duration::from_secs(10), async || {
        Ok((messages(stack, queue).await? == 0).then_some(()))
    });
    let acknowledged = emptied.await.is_ok();
    let dead = messages(stack, stack.dead_letter_queue_url()?).await?;
    checks.group(
        "the message is acknowledged, and nothing is in the dead-letter queue",
        |checks| {
            checks.equal("the message is acknowledged", &true, &acknowledged);
            checks.equal("messages in the dead-letter queue", &0, &dead);
        },
    );
    Ok(())
}

/// Messages in a queue, those being worked on included.
async fn messages(stack: &LocalStack, queue_url: &str) -> Result<i64> {
    let waiting = QueueAttributeName::ApproximateNumberOfMessages;
    let in_flight = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
    let attributes = stack
        .sqs()
        .get_queue_attributes()
        .queue_url(queue_url)
        .attribute_names(waiting.clone())
        .attribute_names(in_flight.clone())
        .send()
        .await
        .context("the queue cannot be looked at")?;
    let count = |name| {
        let value = attributes.attributes().and_then(|all| all.get(name));
        value.and_then(|value| value.parse::<i64>().ok()).context("a queue does not say its length")
    };
    Ok(count(&waiting)? + count(&in_flight)?)
}
