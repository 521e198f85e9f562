//! A queue of one's own, and what Lambda's event source does with it.

use anyhow::{Context as _, Result};
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use local_stack::seed;
use serde_json::{Value, json};
use uuid::Uuid;

/// A queue that no deployed function listens to.
#[derive(Debug)]
pub(crate) struct Queue {
    sqs: aws_sdk_sqs::Client,
    url: String,
}

/// A message that was received and not yet deleted.
#[derive(Debug)]
pub(crate) struct Message {
    id: String,
    receipt_handle: String,
    body: String,
    receive_count: String,
}

impl Queue {
    /// Makes a queue.
    pub(crate) async fn create(sqs: aws_sdk_sqs::Client) -> Result<Self> {
        let created = sqs
            .create_queue()
            .queue_name("bench")
            .attributes(QueueAttributeName::VisibilityTimeout, "960")
            .send()
            .await
            .context("the benchmark's queue cannot be made")?;
        let url = created.queue_url.context("the benchmark's queue has no URL")?;
        Ok(Self { sqs, url })
    }

    /// For `BDR_QUEUE_URL`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Publishes the request, and receives it.
    pub(crate) async fn deliver(&self, bdr_id: Uuid) -> Result<Message> {
        seed::publish(&self.sqs, &self.url, bdr_id).await?;
        let received = self
            .sqs
            .receive_message()
            .queue_url(&self.url)
            .wait_time_seconds(20)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await
            .context("the benchmark's queue cannot be read")?;
        let message = received.messages.unwrap_or_default().pop();
        let message = message.context("the message has not come out of the queue")?;
        let count = MessageSystemAttributeName::ApproximateReceiveCount;
        let receive_count = message.attributes.and_then(|mut all| all.remove(&count));
        Ok(Message {
            id: message.message_id.context("the message has no id")?,
            receipt_handle: message.receipt_handle.context("the message has no receipt handle")?,
            body: message.body.context("the message has no body")?,
            receive_count: receive_count.context("the message has no receive count")?,
        })
    }

    /// Deletes a message that is done.
    pub(crate) async fn delete(&self, message: &Message) -> Result<()> {
        let deleted = self.sqs.delete_message().queue_url(&self.url);
        let deleted = deleted.receipt_handle(&message.receipt_handle).send().await;
        deleted.map(drop).context("the message cannot be deleted")
    }
}

impl Message {
    /// The event that Lambda makes of it.
    pub(crate) fn event(&self) -> Value {
        json!({ "Records": [{
            "messageId": self.id,
            "receiptHandle": self.receipt_handle,
            "body": self.body,
            "attributes": { "ApproximateReceiveCount": self.receive_count },
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "awsRegion": "us-east-1",
        }] })
    }
}
