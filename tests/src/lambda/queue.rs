//! A queue of one's own with its dead-letter queue, and what Lambda's event source does with it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_sqs::operation::create_queue::builders::CreateQueueFluentBuilder;
use aws_sdk_sqs::operation::delete_message::DeleteMessageError;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use local_stack::seed;
use serde_json::{Value, json};
use uuid::Uuid;

/// How often a message is received before it goes to the dead-letter queue, as in `template.yaml`.
const MAX_RECEIVE_COUNT: u32 = 4;

/// A queue that no deployed function listens to, and its dead-letter queue.
#[derive(Debug)]
pub struct Queue {
    sqs: aws_sdk_sqs::Client,
    url: String,
    dead: String,
}

/// A message that was received and not yet deleted.
#[derive(Debug)]
pub struct Message {
    id: String,
    receipt_handle: String,
    body: String,
    receive_count: String,
}

impl Queue {
    /// Makes a queue of this name whose messages are invisible for so long once they are received,
    /// to within a second.
    ///
    /// # Errors
    /// When SQS refuses it.
    pub async fn create(
        sqs: aws_sdk_sqs::Client,
        name: &str,
        visibility_timeout: Duration,
    ) -> Result<Self> {
        let dead = made(sqs.create_queue().queue_name(format!("{name}-dead"))).await?;
        let asked = sqs.get_queue_attributes().queue_url(&dead);
        let asked = asked.attribute_names(QueueAttributeName::QueueArn).send().await?;
        let arn = asked.attributes.unwrap_or_default().remove(&QueueAttributeName::QueueArn);
        let policy = json!({
            "deadLetterTargetArn": arn.context("the dead-letter queue has no ARN")?,
            "maxReceiveCount": MAX_RECEIVE_COUNT,
        });
        let seconds = visibility_timeout.as_secs().to_string();
        let queue = sqs
            .create_queue()
            .queue_name(name)
            .attributes(QueueAttributeName::VisibilityTimeout, seconds)
            .attributes(QueueAttributeName::RedrivePolicy, policy.to_string());
        Ok(Self { url: made(queue).await?, dead, sqs })
    }

    /// For `BDR_QUEUE_URL`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Publishes the request, and receives it.
    ///
    /// # Errors
    /// When the queue fails, or does not hand the message out.
    pub async fn deliver(&self, bdr_id: Uuid) -> Result<Message> {
        self.publish(bdr_id).await?;
        self.receive(Duration::from_secs(20))
            .await?
            .context("the message has not come out of the queue")
    }

    /// Publishes the request.
    ///
    /// # Errors
    /// When the queue fails.
    pub async fn publish(&self, bdr_id: Uuid) -> Result<()> {
        seed::publish(&self.sqs, &self.url, bdr_id).await
    }

    /// Receives a message if one comes within `patience`, to within a second.
    ///
    /// # Errors
    /// When the queue fails.
    pub async fn receive(&self, patience: Duration) -> Result<Option<Message>> {
        let received = self
            .sqs
            .receive_message()
            .queue_url(&self.url)
            .wait_time_seconds(i32::try_from(patience.as_secs())?)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await
            .with_context(|| format!("queue {} cannot be read", self.url))?;
        let Some(message) = received.messages.unwrap_or_default().pop() else { return Ok(None) };
        let count = MessageSystemAttributeName::ApproximateReceiveCount;
        let receive_count = message.attributes.and_then(|mut all| all.remove(&count));
        Ok(Some(Message {
            id: message.message_id.context("the message has no id")?,
            receipt_handle: message.receipt_handle.context("the message has no receipt handle")?,
            body: message.body.context("the message has no body")?,
            receive_count: receive_count.context("the message has no receive count")?,
        }))
    }

    /// How many messages there are, invisible ones included.
    ///
    /// # Errors
    /// When the queue fails.
    pub async fn len(&self) -> Result<u64> {
        self.count(&self.url).await
    }

    /// How many messages have gone to the dead-letter queue.
    ///
    /// # Errors
    /// When the queue fails.
    pub async fn dead_letters(&self) -> Result<u64> {
        self.count(&self.dead).await
    }

    async fn count(&self, url: &str) -> Result<u64> {
        let counted = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let asked = self.sqs.get_queue_attributes().queue_url(url);
        let asked = asked.set_attribute_names(Some(counted.to_vec())).send().await;
        let asked = asked.with_context(|| format!("queue {url} cannot be counted"))?;
        let attributes = asked.attributes.unwrap_or_default();
        counted.iter().filter_map(|name| attributes.get(name)).map(|n| Ok(n.parse::<u64>()?)).sum()
    }

    /// Deletes a message that is done. One that has been deleted or received anew since is left
    /// alone.
    ///
    /// # Errors
    /// When the queue fails.
    pub async fn delete(&self, message: &Message) -> Result<()> {
        let deleted = self.sqs.delete_message().queue_url(&self.url);
        match deleted.receipt_handle(&message.receipt_handle).send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.into_service_error() {
                DeleteMessageError::ReceiptHandleIsInvalid(_) => Ok(()),
                error => Err(error).context("the message cannot be deleted"),
            },
        }
    }
}

async fn made(queue: CreateQueueFluentBuilder) -> Result<String> {
    let created = queue.send().await.context("a queue cannot be made")?;
    created.queue_url.context("the queue has no URL")
}

impl Message {
    /// Its id, by which a function reports it as not done.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The event that Lambda makes of it.
    #[must_use]
    pub fn event(&self) -> Value {
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
