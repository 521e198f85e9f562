//! The SQS event, record by record, and the response that names the messages to deliver again.
//!
//! A failure is reported in `batchItemFailures` and never as an error of the invocation, because
//! such an error makes the event source back off for the other messages.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use lambda_runtime::{Context, LambdaEvent};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::clock::Clock;
use shared::lambda::{InvocationError, time_left};
use shared::message::Message;
use shared::metrics::Metrics;
use shared::queue::Queue;
use shared::trace::{SpanKind, Tracer};
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::Instrument;
use tracing::field::display;
use uuid::Uuid;

use crate::attempt::Attempt;
use crate::job::Job;
use crate::lease::{Lease, set_visibility};
use crate::outcome::{AttemptOutcome, MessageFate};
use crate::phases::Phase;
use crate::report::AttemptReport;

/// The handler of SQS events: one attempt per record.
pub struct Handler {
    /// The unit of work.
    pub job: Job,
    /// The queue of the messages.
    pub queue: Queue,
    /// `LEASE_SECONDS`.
    pub lease: Duration,
    /// `RETRY_BASE_SECONDS`.
    pub retry_base: Duration,
    /// `MAX_RECEIVE_COUNT`.
    pub max_receive_count: u32,
    /// The clock that the invocation's deadline is compared with.
    pub clock: Clock,
    /// The writer of metrics.
    pub metrics: Metrics,
    /// The sender of traces.
    pub tracer: Tracer,
}

/// A record of the event. The body is parsed later, so that a malformed body fails only its own message.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SqsRecord {
    message_id: String,
    receipt_handle: String,
    body: String,
    attributes: Attributes,
    /// The sender's own attributes, by name.
    #[serde(default)]
    message_attributes: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    approximate_receive_count: String,
    /// The time at which the message was sent, in milliseconds since 1970.
    #[serde(default)]
    sent_timestamp: String,
    /// The sender's span, if it calls SQS with X-Ray's header.
    #[serde(default, rename = "AWSTraceHeader")]
    aws_trace_header: Option<String>,
}

/// The response to the event source.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    /// The messages to deliver again. Lambda deletes the others from the queue.
    pub batch_item_failures: Vec<BatchItemFailure>,
}

/// A message to deliver again.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// The message id.
    pub item_identifier: String,
}

impl Attributes {
    fn sent_at(&self) -> Option<OffsetDateTime> {
        let millis: i64 = self.sent_timestamp.parse().ok()?;
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok()
    }
}

impl SqsRecord {
    /// Returns the sender's span, if it is instrumented by OpenTelemetry.
    fn traceparent(&self) -> Option<&str> {
        self.message_attributes.pointer("/traceparent/stringValue")?.as_str()
    }
}

impl Handler {
    /// Processes the records of an event one after the other.
    ///
    /// # Errors
    /// When the event is not an SQS event: there is no message id to report.
    pub async fn handle(
        &self,
        event: LambdaEvent<Value>,
    ) -> Result<BatchResponse, InvocationError> {
        let deadline = Instant::now() + time_left(&event.context, &self.clock);
        let context = event.context;
        let mut response = BatchResponse::default();
        for record in records(event.payload)? {
            if let MessageFate::Return { .. } =
                self.attempt_record(&record, &context, deadline).await
            {
                response
                    .batch_item_failures
                    .push(BatchItemFailure { item_identifier: record.message_id });
            }
        }
        Ok(response)
    }

    /// Makes one attempt and reports it.
    async fn attempt_record(
        &self,
        record: &SqsRecord,
        context: &Context,
        deadline: Instant,
    ) -> MessageFate {
        let trace_header = record.attributes.aws_trace_header.as_deref();
        let callers = [record.traceparent(), trace_header, context.xray_trace_id.as_deref()];
        let root = self.tracer.begin(&callers, &record.message_id);
        let attempt = Attempt {
            receive_count: record.attributes.approximate_receive_count.parse().unwrap_or(1),
            max_receive_count: self.max_receive_count,
            sent_at: record.attributes.sent_at(),
            begun_at: Instant::now(),
            deadline,
            retry_base: self.retry_base,
            span: root,
        };
        let receive_count = attempt.receive_count;
        let message = Message::parse(&record.body).map(|message| message.bdr_id);
        let trace_id = root.map(|root| display(root.trace_id));
        let span = match &message {
            Ok(bdr_id) => tracing::info_span!("attempt", %bdr_id, receive_count, trace_id),
            Err(_) => {
                tracing::info_span!(
                    "attempt",
                    message_id = record.message_id,
                    receive_count,
                    trace_id
                )
            }
        };
        async {
            let bdr_id = message.as_ref().ok().copied();
            let mut report =
                AttemptReport::begin(&self.metrics, &context.request_id, bdr_id, attempt);
            match message {
                Ok(bdr_id) => self.work(bdr_id, record, &attempt, report).await,
                Err(error) => {
                    let outcome = AttemptOutcome::Malformed { error: error.to_string() };
                    let fate = outcome.message_fate(&attempt);
                    report.phases.enter(Phase::Finish);
                    if let Some(delay) = fate.visible_after() {
                        set_visibility(&self.queue, &record.receipt_handle, delay).await;
                    }
                    self.end(report, &outcome, deadline).await;
                    fate
                }
            }
        }
        .instrument(span)
        .await
    }

    /// Holds the lease on the message while the job processes the request.
    async fn work(
        &self,
        bdr_id: Uuid,
        record: &SqsRecord,
        attempt: &Attempt,
        mut report: AttemptReport<'_>,
    ) -> MessageFate {
        let lease = Lease::hold(&self.queue, &record.receipt_handle, self.lease);
        // A panic must not fail the invocation: the message would stay invisible until its lease ends.
        // Boxed: the layout of the whole job within the runtime's layers exceeds the compiler's limit.
        let processing = Box::pin(self.job.process(bdr_id, attempt, &mut report.phases));
        let outcome =
            AssertUnwindSafe(processing).catch_unwind().await.unwrap_or(AttemptOutcome::Panicked);
        let fate = outcome.message_fate(attempt);
        report.phases.enter(Phase::Finish);
        lease.end(fate.visible_after()).await;
        self.end(report, &outcome, attempt.deadline).await;
        fate
    }

    /// Reports an attempt that has ended, and sends its trace.
    async fn end(&self, report: AttemptReport<'_>, outcome: &AttemptOutcome, deadline: Instant) {
        let spans = report.finish(outcome, "attempt", SpanKind::Consumer);
        self.tracer.send(&spans, deadline).await;
    }
}

/// Returns the records of an SQS event.
fn records(event: Value) -> Result<Vec<SqsRecord>, InvocationError> {
    #[derive(Deserialize)]
    struct SqsEvent {
        #[serde(rename = "Records")]
        records: Vec<SqsRecord>,
    }
    let event: SqsEvent = serde_json::from_value(event).map_err(|error| {
        tracing::error!(result = "malformed", error = %error, "event is not an SQS event");
        InvocationError::invalid_payload(format!("the event must be an SQS event: {error}"))
    })?;
    Ok(event.records)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::records;

    #[test]
    fn an_event_that_is_not_from_sqs_is_an_error() {
        let record = json!({
            "messageId": "m", "receiptHandle": "r", "body": "not JSON",
            "attributes": {"ApproximateReceiveCount": "3", "SentTimestamp": "1"},
        });
        assert_eq!(records(json!({"Records": [record]})).unwrap().len(), 1);
        assert!(records(json!({"Records": [{"body": "{}"}]})).is_err());
        assert!(records(json!({"hello": "world"})).is_err());
    }
}
