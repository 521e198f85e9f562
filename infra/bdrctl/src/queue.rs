//! The queue, and the dead-letter queue behind it.

use anyhow::{Context as _, Result};
use shared::message::Message;
use uuid::Uuid;

/// Most messages a receive (SQS, `MaxNumberOfMessages`).
const PAGE: i32 = 10;
/// Seconds that a receive waits. At 0 it asks only some of SQS's servers, and an empty answer means
/// nothing.
const PATIENCE: i32 = 2;

/// A queue.
#[derive(Debug)]
pub(crate) struct Queue {
    sqs: aws_sdk_sqs::Client,
    url: String,
}

/// A message that was received.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) message_id: String,
    /// The request that its body names, if it does.
    pub(crate) bdr_id: Option<Uuid>,
    receipt: String,
}

impl Queue {
    pub(crate) fn new(sqs: aws_sdk_sqs::Client, url: String) -> Self {
        Self { sqs, url }
    }

    /// Sends the message of a request.
    pub(crate) async fn publish(&self, bdr_id: Uuid) -> Result<()> {
        let body = serde_json::to_string(&Message { bdr_id })?;
        let sent = self.sqs.send_message().queue_url(&self.url).message_body(body).send().await;
        sent.map(drop).with_context(|| format!("request {bdr_id} cannot be published"))
    }

    /// Some messages, hidden from others for so many seconds; none when there are no more.
    pub(crate) async fn receive(&self, hidden_seconds: i32) -> Result<Vec<Letter>> {
        let receive = self.sqs.receive_message().queue_url(&self.url);
        let received = receive
            .max_number_of_messages(PAGE)
            .wait_time_seconds(PATIENCE)
            .visibility_timeout(hidden_seconds)
            .send()
            .await
            .context("the queue cannot be read")?;
        let letters = received.messages.unwrap_or_default().into_iter().filter_map(|message| {
            let parsed = message.body.as_deref().map(Message::parse);
            Some(Letter {
                message_id: message.message_id?,
                bdr_id: parsed.and_then(Result::ok).map(|message| message.bdr_id),
                receipt: message.receipt_handle?,
            })
        });
        Ok(letters.collect())
    }

    /// Deletes a message.
    pub(crate) async fn delete(&self, letter: &Letter) -> Result<()> {
        let delete = self.sqs.delete_message().queue_url(&self.url);
        let deleted = delete.receipt_handle(&letter.receipt).send().await;
        deleted.map(drop).with_context(|| format!("message {} stays", letter.message_id))
    }

    /// Shows a message to others again.
    pub(crate) async fn give_back(&self, letter: &Letter) -> Result<()> {
        let change = self.sqs.change_message_visibility().queue_url(&self.url);
        let changed = change.receipt_handle(&letter.receipt).visibility_timeout(0).send().await;
        changed.map(drop).context("a message stays hidden for some minutes")
    }
}
