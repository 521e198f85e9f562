//! The SQS event, record by record, and the answer that says which messages are not done.
//!
//! Failures are reported as `batchItemFailures` and never as an error of the invocation, which
//! would make the event source back off for the neighbours.

use std::time::Duration;

use lambda_runtime::{Error, LambdaEvent};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::clock::Clock;
use shared::lambda::time_left;
use shared::message::Message;
use shared::metrics::Metrics;
use shared::queue::Queue;
use tokio::time::Instant;
use tracing::Instrument;

use crate::attempt::{Attempt, Disposition};
use crate::event::{Event, Status};
use crate::job::Job;
use crate::lease::{self, Lease};
use crate::phases::Phase;

/// Turns events into attempts.
pub struct Handler {
    /// The job.
    pub job: Job,
    /// The queue the messages come from.
    pub queue: Queue,
    /// `LEASE_SECONDS`.
    pub lease: Duration,
    /// `RETRY_BASE_SECONDS`.
    pub retry_base: Duration,
    /// `MAX_RECEIVE_COUNT`.
    pub max_receive_count: u32,
    /// For the time left until the deadline.
    pub clock: Clock,
    /// Where metrics go.
    pub metrics: Metrics,
}

/// One message. Bodies are taken as text and parsed one by one: a malformed one must not fail the
/// others.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    message_id: String,
    receipt_handle: String,
    body: String,
    attributes: Attributes,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    approximate_receive_count: String,
}

/// The answer to SQS.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The messages that are not done.
    pub batch_item_failures: Vec<BatchItemFailure>,
}

/// A message that is not done.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// Its id.
    pub item_identifier: String,
}

impl Handler {
    /// Works through the records of an event.
    ///
    /// # Errors
    /// When the event is none of SQS's: then no message is known that could be reported.
    pub async fn handle(&self, event: LambdaEvent<Value>) -> Result<Answer, Error> {
        let deadline = Instant::now() + time_left(&event.context, &self.clock);
        let request_id = event.context.request_id;
        let records = records(event.payload)?;
        let mut answer = Answer::default();
        for record in records {
            if let Disposition::Return(_) = self.receive(&record, &request_id, deadline).await {
                answer
                    .batch_item_failures
                    .push(BatchItemFailure { item_identifier: record.message_id });
            }
        }
        Ok(answer)
    }

    /// Receives one message under its lease.
    async fn receive(&self, record: &Record, request_id: &str, deadline: Instant) -> Disposition {
        let receive_count = record.attributes.approximate_receive_count.parse().unwrap_or(1);
        let begin = |bdr_id| Event::begin(&self.metrics, request_id, bdr_id, receive_count);
        let message = match Message::parse(&record.body) {
            Ok(message) => message,
            Err(error) => {
                let message_id = &record.message_id;
                let span = tracing::info_span!("attempt", message_id, receive_count);
                async {
                    let mut event = begin(None);
                    event.status = Some(Status::Malformed);
                    event.error = Some(error.to_string());
                    lease::set_visibility(&self.queue, &record.receipt_handle, Duration::ZERO)
                        .await;
                }
                .instrument(span)
                .await;
                return Disposition::Return(Some(Duration::ZERO));
            }
        };
        let attempt = Attempt {
            receive_count,
            max_receive_count: self.max_receive_count,
            deadline,
            retry_base: self.retry_base,
        };
        let span = tracing::info_span!("attempt", bdr_id = %message.bdr_id, receive_count);
        async {
            let mut event = begin(Some(message.bdr_id));
            let lease = Lease::hold(&self.queue, &record.receipt_handle, self.lease);
            let disposition = self.job.process(message.bdr_id, &attempt, &mut event).await;
            event.phases.enter(Phase::Finish);
            event.comes_back =
                matches!(disposition, Disposition::Return(Some(_))) && !attempt.is_last();
            let visible_after = match disposition {
                Disposition::Acknowledge => None,
                Disposition::Return(delay) => delay,
            };
            lease.end(visible_after).await;
            disposition
        }
        .instrument(span)
        .await
    }
}

/// The records of an event.
fn records(event: Value) -> Result<Vec<Record>, Error> {
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "Records")]
        records: Vec<Record>,
    }
    let event: Event = serde_json::from_value(event).map_err(|error| {
        tracing::error!(result = "malformed", error = %error, "the event is none of SQS's");
        error
    })?;
    Ok(event.records)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::records;

    #[test]
    fn an_event_of_sqs_is_read_and_another_is_an_error() {
        let record = json!({
            "messageId": "m", "receiptHandle": "r", "body": "not JSON",
            "attributes": {"ApproximateReceiveCount": "3", "SentTimestamp": "1"},
        });
        assert_eq!(records(json!({"Records": [record]})).unwrap().len(), 1);
        assert!(records(json!({"Records": [{"body": "{}"}]})).is_err());
        assert!(records(json!({"hello": "world"})).is_err());
    }
}
