//! The invocation: an event from the schedule in, a report out. The event has no content that matters.

use serde::Serialize;
use serde_json::{Map, json};
use shared::failure::chain;
use shared::lambda::InvocationError;
use shared::metrics::{self, Metrics, Record};

use crate::canary::{Canary, Verdict};

/// The handler of invocations.
pub struct Handler {
    /// The clients and the request of a run.
    pub canary: Canary,
    /// The metrics.
    pub metrics: Metrics,
}

/// The answer to an invocation.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `success`, or `failed` if the request of the run before did not succeed.
    pub status: &'static str,
    /// Why it did not.
    pub reason: Option<String>,
}

impl Handler {
    /// Checks the run before, and begins the next one.
    ///
    /// # Errors
    /// When the database, S3 or SQS do not respond. The run then counts as failed.
    pub async fn handle(&self) -> Result<Report, InvocationError> {
        let Canary { bdr_id, .. } = &self.canary;
        let run = self.canary.run().await;
        let reason = match &run {
            Ok(Verdict::Success) => None,
            Ok(Verdict::Failed(reason)) => Some(reason.clone()),
            Err(failure) => Some(chain(failure)),
        };
        let status = if reason.is_none() { "success" } else { "failed" };
        if reason.is_none() {
            tracing::info!(%bdr_id, result = status, "canary ended");
        } else {
            tracing::error!(%bdr_id, result = status, reason, "canary ended");
        }
        let properties =
            [("event".to_owned(), json!("canary")), ("status".to_owned(), json!(status))];
        let mut record = Record::of(Map::from_iter(properties));
        record.put(metrics::CANARY_SUCCEEDED, u8::from(reason.is_none()));
        self.metrics.emit(&[record]);
        run?;
        Ok(Report { status, reason })
    }
}
