//! The function's handler in this process, with a queue of its own that it plays Lambda for.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use lambda_runtime::LambdaEvent;
use process_bdr_job::config::Config;
use process_bdr_job::handler::Handler;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::in_process::{context, environment};
use crate::privacy::Secrets;
use crate::scenario::{Scenario, unique};

/// A function that has been started.
pub struct Worker {
    /// Its handler. A scenario may replace parts of it.
    pub handler: Handler,
    /// How long before the deadline an invocation begins.
    pub time_left: Duration,
    queue_url: String,
    sqs: aws_sdk_sqs::Client,
    secrets: Secrets,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It was acknowledged, and deleted.
    Acknowledged,
    /// It was reported as failed, and can be received at once.
    BackNow,
    /// It was reported as failed, and is still invisible.
    BackLater,
}

impl Worker {
    pub(crate) async fn new(
        scenario: &Scenario,
        aws: &SdkConfig,
        variables: &[(&str, &str)],
    ) -> Self {
        let sqs = scenario.sqs.clone();
        let queue = sqs
            .create_queue()
            .queue_name(unique("q"))
            .attributes(QueueAttributeName::VisibilityTimeout, "960")
            .send()
            .await
            .unwrap();
        let queue_url = queue.queue_url.unwrap();
        let environment = environment(scenario, &queue_url, variables);
        let config = Config::from_environment(&environment).expect("a configuration");
        let mut handler = process_bdr_job::wiring::handler(config, aws).unwrap();
        handler.metrics = scenario.log.metrics();
        let secrets = scenario.secrets.clone();
        Self { handler, time_left: Duration::from_mins(15), queue_url, sqs, secrets }
    }

    /// The worker's own queue.
    #[must_use]
    pub fn queue_url(&self) -> &str {
        &self.queue_url
    }

    /// Delivers the request's message for the first time.
    pub async fn receive(&self, bdr_id: Uuid) -> Delivery {
        self.receive_again(&Scenario::message(bdr_id), 1).await
    }

    /// Delivers a message with this receive count, and does with it what Lambda does.
    pub async fn receive_again(&self, body: &str, receive_count: u32) -> Delivery {
        self.sqs.send_message().queue_url(&self.queue_url).message_body(body).send().await.unwrap();
        let received = self
            .sqs
            .receive_message()
            .queue_url(&self.queue_url)
            .wait_time_seconds(20)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await
            .unwrap();
        let message = &received.messages()[0];
        let (id, handle) = (message.message_id().unwrap(), message.receipt_handle().unwrap());
        // Whoever has it can take the message away.
        self.secrets.add(handle);
        let event = json!({"Records": [{
            "messageId": id,
            "receiptHandle": handle,
            "body": body,
            "attributes": {"ApproximateReceiveCount": receive_count.to_string()},
            "eventSource": "aws:sqs",
        }]});
        let failures = self.invoke(event).await;
        if failures.is_empty() {
            self.sqs
                .delete_message()
                .queue_url(&self.queue_url)
                .receipt_handle(handle)
                .send()
                .await
                .unwrap();
            return Delivery::Acknowledged;
        }
        assert_eq!(failures, [id], "the failed message is reported by its id");
        if self.count(QueueAttributeName::ApproximateNumberOfMessages).await == 1 {
            return Delivery::BackNow;
        }
        assert_eq!(self.count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible).await, 1);
        Delivery::BackLater
    }

    /// Invokes the handler; returns the ids of the messages that it reports as failed.
    pub async fn invoke(&self, event: Value) -> Vec<String> {
        let event = LambdaEvent::new(event, context(self.time_left));
        let answer = self.handler.handle(event).await.unwrap();
        answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
    }

    /// Empties the queue, also of messages that are still invisible; returns how many there were.
    pub async fn drain(&self) -> u32 {
        let visible = self.count(QueueAttributeName::ApproximateNumberOfMessages).await;
        let hidden = self.count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible).await;
        self.sqs.purge_queue().queue_url(&self.queue_url).send().await.unwrap();
        visible + hidden
    }

    async fn count(&self, attribute: QueueAttributeName) -> u32 {
        let answer = self
            .sqs
            .get_queue_attributes()
            .queue_url(&self.queue_url)
            .attribute_names(attribute.clone())
            .send()
            .await
            .unwrap();
        answer.attributes().unwrap()[&attribute].parse().unwrap()
    }
}
