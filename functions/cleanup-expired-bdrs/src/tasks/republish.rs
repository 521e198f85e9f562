//! Sends the message again of requests that wait for too long: the API may have died between its
//! row and its message. One too many does no harm, since processing is idempotent.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use shared::failure::{Failure, chain};
use shared::message::Message;
use tokio::time::Instant;
use uuid::Uuid;

use super::goes_on;
use crate::cleanup::Cleanup;
use crate::report::Report;

/// Messages a call (SQS, `SendMessageBatch`).
const MOST_AT_ONCE: usize = 10;

/// Where requests are published.
pub struct Queue {
    client: Client,
    url: String,
}

/// Republishes at most a page a run.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn run(
    cleanup: &Cleanup,
    stop_at: Instant,
    report: &mut Report,
) -> Result<(), Failure> {
    let waiting = cleanup
        .requests
        .unpublished()
        .await
        .map_err(|error| error.during("failed to find requests that wait"))?;
    for ten in waiting.chunks(MOST_AT_ONCE) {
        if !goes_on(stop_at, report) {
            break;
        }
        cleanup.queue.publish(ten, report).await;
    }
    Ok(())
}

impl Queue {
    /// The queue at `url`.
    #[must_use]
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Publishes at most ten requests.
    async fn publish(&self, bdr_ids: &[Uuid], report: &mut Report) {
        let entries = bdr_ids.iter().enumerate().map(|(index, bdr_id)| {
            let body = serde_json::to_string(&Message { bdr_id: *bdr_id }).unwrap_or_default();
            SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(body).build()
        });
        let Ok(entries) = entries.collect::<Result<Vec<_>, _>>() else { return };
        let sent = self.client.send_message_batch().queue_url(&self.url);
        match sent.set_entries(Some(entries)).send().await {
            Ok(answer) => {
                report.republished += answer.successful().len();
                for refused in answer.failed() {
                    if let Some(bdr_id) =
                        refused.id().parse().ok().and_then(|n: usize| bdr_ids.get(n))
                    {
                        report.error(
                            *bdr_id,
                            &format!("SQS refused the message: {}", refused.code()),
                        );
                    }
                }
            }
            Err(error) => {
                let error = chain(&error);
                for bdr_id in bdr_ids {
                    report.error(*bdr_id, &format!("failed to publish: {error}"));
                }
            }
        }
    }
}
