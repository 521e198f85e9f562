//! The SQS queue of the requests and its dead-letter queue: publish, receive, change visibility,
//! delete.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{MessageSystemAttributeName, SendMessageBatchRequestEntry};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::message::Message;

/// Messages in one `SendMessageBatch` or `ReceiveMessage` call (SQS quotas, "Messages per batch").
pub const MAX_BATCH: usize = 10;
/// Wait of one receive. With 0 s (short polling) SQS samples a subset of its servers, and an empty
/// response does not mean an empty queue.
const LONG_POLL: Duration = Duration::from_secs(2);

/// A request to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publication {
    /// The request.
    pub bdr_id: Uuid,
    /// The artist, whose id is the message's `MessageGroupId`: SQS then delivers messages of other
    /// artists before a backlog of this one (Amazon SQS, "Fair queues"). A message without it is a
    /// group of its own.
    pub user_id: Option<i64>,
}

/// A queue. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    url: String,
}

/// An error of an SQS call; its source says which.
#[derive(Debug, thiserror::Error)]
#[error("the SQS call failed")]
pub struct QueueError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// A message that SQS did not accept, although it accepted the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedMessage {
    /// The request of the message.
    pub bdr_id: Uuid,
    /// The error code of SQS.
    pub code: String,
}

/// A received message.
#[derive(Debug, Clone)]
pub struct ReceivedMessage {
    /// Id of the message.
    pub message_id: String,
    /// The body.
    pub body: String,
    /// The time at which the message was first sent. A move to the dead-letter queue keeps it.
    pub sent_at: Option<OffsetDateTime>,
    /// The request that the body names; `None` for a malformed body.
    pub bdr_id: Option<Uuid>,
    receipt_handle: String,
}

impl QueueError {
    fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

impl Queue {
    /// The queue at `url`.
    #[must_use]
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Publishes a request.
    ///
    /// # Errors
    /// When SQS rejects the message or does not respond.
    pub async fn publish(&self, request: Publication) -> Result<(), QueueError> {
        let send = self.client.send_message().queue_url(&self.url);
        let send = send.message_body(request.body()?).set_message_group_id(request.group());
        send.send().await.map(drop).map_err(QueueError::new)
    }

    /// Publishes at most [`MAX_BATCH`] requests in one call and returns those that SQS rejected.
    ///
    /// # Errors
    /// When SQS rejects the whole call or does not respond.
    pub async fn publish_batch(
        &self,
        requests: &[Publication],
    ) -> Result<Vec<RejectedMessage>, QueueError> {
        let entries = requests.iter().enumerate().map(|(index, request)| {
            SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(request.body()?)
                .set_message_group_id(request.group())
                .build()
                .map_err(QueueError::new)
        });
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let send = self.client.send_message_batch().queue_url(&self.url);
        let response = send.set_entries(Some(entries)).send().await.map_err(QueueError::new)?;
        let rejected = response.failed().iter().filter_map(|entry| {
            let request = requests.get(entry.id().parse::<usize>().ok()?)?;
            Some(RejectedMessage { bdr_id: request.bdr_id, code: entry.code().to_owned() })
        });
        Ok(rejected.collect())
    }

    /// Receives up to [`MAX_BATCH`] messages, which stay invisible to other receivers for
    /// `visibility_timeout`. An empty result means an empty queue.
    ///
    /// # Errors
    /// When SQS rejects the call or does not respond.
    pub async fn receive(
        &self,
        visibility_timeout: Duration,
    ) -> Result<Vec<ReceivedMessage>, QueueError> {
        let receive = self.client.receive_message().queue_url(&self.url);
        let response = receive
            .max_number_of_messages(i32::try_from(MAX_BATCH).unwrap_or(i32::MAX))
            .wait_time_seconds(seconds(LONG_POLL))
            .visibility_timeout(seconds(visibility_timeout))
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .send()
            .await
            .map_err(QueueError::new)?;
        let messages = response.messages.unwrap_or_default().into_iter().filter_map(|message| {
            let sent_at = message.attributes.as_ref().and_then(sent_at);
            let body = message.body.unwrap_or_default();
            Some(ReceivedMessage {
                message_id: message.message_id?,
                bdr_id: Message::parse(&body).ok().map(|message| message.bdr_id),
                body,
                sent_at,
                receipt_handle: message.receipt_handle?,
            })
        });
        Ok(messages.collect())
    }

    /// Makes a received message visible again after `delay` (whole seconds, at most 12 h).
    ///
    /// # Errors
    /// When SQS rejects the call or does not respond; the message is then visible when its
    /// visibility timeout ends.
    pub async fn set_visibility(
        &self,
        receipt_handle: &str,
        delay: Duration,
    ) -> Result<(), QueueError> {
        let change = self.client.change_message_visibility().queue_url(&self.url);
        let change = change.receipt_handle(receipt_handle).visibility_timeout(seconds(delay));
        change.send().await.map(drop).map_err(QueueError::new)
    }

    /// Makes a received message visible again at once.
    ///
    /// # Errors
    /// As [`Queue::set_visibility`].
    pub async fn release(&self, message: &ReceivedMessage) -> Result<(), QueueError> {
        self.set_visibility(&message.receipt_handle, Duration::ZERO).await
    }

    /// Deletes a received message.
    ///
    /// # Errors
    /// When SQS rejects the call or does not respond.
    pub async fn delete(&self, message: &ReceivedMessage) -> Result<(), QueueError> {
        let delete = self.client.delete_message().queue_url(&self.url);
        let delete = delete.receipt_handle(&message.receipt_handle);
        delete.send().await.map(drop).map_err(QueueError::new)
    }
}

/// Returns the time of the first send, which SQS gives in milliseconds since the Unix epoch.
fn sent_at(attributes: &HashMap<MessageSystemAttributeName, String>) -> Option<OffsetDateTime> {
    let text = attributes.get(&MessageSystemAttributeName::SentTimestamp)?;
    OffsetDateTime::from_unix_timestamp_nanos(text.parse::<i128>().ok()?.checked_mul(1_000_000)?)
        .ok()
}

impl Publication {
    /// Returns the body of the message.
    fn body(self) -> Result<String, QueueError> {
        serde_json::to_string(&Message { bdr_id: self.bdr_id }).map_err(QueueError::new)
    }

    /// Returns the message's `MessageGroupId`.
    fn group(self) -> Option<String> {
        self.user_id.map(|user_id| user_id.to_string())
    }
}

/// Seconds as SQS counts them.
fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
