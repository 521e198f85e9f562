//! Where requests are published.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use shared::failure::chain;
use shared::message::Message;
use uuid::Uuid;

use crate::report::Report;

/// Messages a call (SQS, `SendMessageBatch`).
pub(crate) const MOST_AT_ONCE: usize = 10;

/// The queue of the requests.
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    /// The queue at `url`.
    #[must_use]
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Publishes at most ten requests.
    pub(crate) async fn publish(&self, bdr_ids: &[Uuid], report: &mut Report) {
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
