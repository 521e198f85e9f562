//! A queue without a deployed function, with its dead-letter queue.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::delete_message::DeleteMessageError;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use local_stack::seed;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// How often a message is received before it goes to the dead-letter queue, as in `template.yaml`.
const MAX_RECEIVE_COUNT: u32 = 4;

/// A queue that no deployed function polls, and its dead-letter queue.
#[derive(Debug)]
pub struct TestQueue {
    sqs: Client,
    url: String,
    dead: String,
}

/// A message that was received and not yet deleted.
#[derive(Debug)]
pub struct InFlight(Message);

impl TestQueue {
    /// Creates a queue of this name, with a visibility timeout in whole seconds.
    ///
    /// # Errors
    /// When SQS rejects it.
    pub async fn create(sqs: Client, name: &str, visibility_timeout: Duration) -> Result<Self> {
        let dead = sqs.create_queue().queue_name(format!("{name}-dead")).send().await?;
        let policy = json!({
            "deadLetterTargetArn": format!("arn:aws:sqs:us-east-1:000000000000:{name}-dead"),
            "maxReceiveCount": MAX_RECEIVE_COUNT,
        });
        let timeout = visibility_timeout.as_secs().to_string();
        let queue = sqs
            .create_queue()
            .queue_name(name)
            .attributes(QueueAttributeName::VisibilityTimeout, timeout)
            .attributes(QueueAttributeName::RedrivePolicy, policy.to_string());
        let url = queue.send().await?.queue_url.context("the queue has no URL")?;
        let dead = dead.queue_url.context("the dead-letter queue has no URL")?;
        Ok(Self { sqs, url, dead })
    }

    /// Returns the queue's URL, for `BDR_QUEUE_URL`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Publishes the request, and receives it.
    ///
    /// # Errors
    /// When the queue fails, or does not return the message within 20 s.
    pub async fn deliver(&self, bdr_id: Uuid) -> Result<InFlight> {
        self.publish(bdr_id).await?;
        let received = self.receive(Duration::from_secs(20)).await?;
        received.context("the queue has not returned the message within 20 s")
    }

    /// Publishes the request.
    ///
    /// # Errors
    /// When the queue fails.
    pub async fn publish(&self, bdr_id: Uuid) -> Result<()> {
        self.send(&seed::message(bdr_id)).await
    }

    /// Sends a message with this body.
    ///
    /// # Errors
    /// When the queue fails.
    pub async fn send(&self, body: &str) -> Result<()> {
        self.sqs.send_message().queue_url(&self.url).message_body(body).send().await?;
        Ok(())
    }

    /// Receives a message if one is available within `patience`, in whole seconds.
    ///
    /// # Errors
    /// When the queue fails.
    pub async fn receive(&self, patience: Duration) -> Result<Option<InFlight>> {
        let seconds = i32::try_from(patience.as_secs())?;
        let receive = self.sqs.receive_message().queue_url(&self.url).wait_time_seconds(seconds);
        let received = receive.message_system_attribute_names(MessageSystemAttributeName::All);
        let received = received.send().await;
        let received = received.with_context(|| format!("failed to receive from {}", self.url))?;
        Ok(received.messages.unwrap_or_default().pop().map(InFlight))
    }

    /// Returns the number of messages, invisible ones included.
    ///
    /// # Errors
    /// When the queue fails.
    pub async fn len(&self) -> Result<u64> {
        Ok(self.counts().await?.iter().sum())
    }

    /// Returns the numbers of visible, invisible and delayed messages.
    ///
    /// # Errors
    /// When the queue fails.
    pub async fn counts(&self) -> Result<[u64; 3]> {
        self.counts_of(&self.url).await
    }

    /// Returns the number of messages in the dead-letter queue.
    ///
    /// # Errors
    /// When the queue fails.
    pub async fn dead_letters(&self) -> Result<u64> {
        Ok(self.counts_of(&self.dead).await?.iter().sum())
    }

    async fn counts_of(&self, url: &str) -> Result<[u64; 3]> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let asked = self.sqs.get_queue_attributes().queue_url(url);
        let answer = asked.set_attribute_names(Some(names.to_vec())).send().await;
        let answer = answer.with_context(|| format!("failed to count the messages of {url}"))?;
        let attributes = answer.attributes.unwrap_or_default();
        let count = |name| attributes.get(&name).and_then(|count| count.parse().ok());
        Ok(names.map(|name| count(name).unwrap_or_default()))
    }

    /// Deletes a message. One that was deleted or received again since is left alone.
    ///
    /// # Errors
    /// When the queue fails.
    pub async fn delete(&self, message: &InFlight) -> Result<()> {
        let deletion = self.sqs.delete_message().queue_url(&self.url);
        let deleted = deletion.set_receipt_handle(message.0.receipt_handle.clone()).send().await;
        match deleted.map_err(aws_sdk_sqs::error::SdkError::into_service_error) {
            Ok(_) | Err(DeleteMessageError::ReceiptHandleIsInvalid(_)) => Ok(()),
            Err(error) => Err(error).context("failed to delete the message"),
        }
    }

    /// Deletes all messages, invisible ones included; returns their number.
    ///
    /// # Errors
    /// When the queue fails.
    pub async fn drain(&self) -> Result<u64> {
        let count = self.len().await?;
        self.sqs.purge_queue().queue_url(&self.url).send().await?;
        Ok(count)
    }
}

impl InFlight {
    /// Returns the message's id, by which a function reports it as failed.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.message_id().unwrap_or_default()
    }

    /// Returns the event with which Lambda invokes a function for this message alone.
    #[must_use]
    pub fn event(&self) -> Value {
        let attributes = self.0.attributes().into_iter().flatten();
        let attributes: Map<_, _> =
            attributes.map(|(name, value)| (name.to_string(), value.clone().into())).collect();
        json!({ "Records": [{
            "messageId": self.id(),
            "receiptHandle": self.0.receipt_handle(),
            "body": self.0.body(),
            "attributes": attributes,
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "awsRegion": "us-east-1",
        }] })
    }
}
