//! The events of the state machine.

use lambda_runtime::LambdaEvent;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::failure::{Decision, Failure, chain};
use shared::lambda::{InvocationError, time_left};
use shared::metrics::{self, millis};
use shared::trace::{Span, SpanKind};
use shared::vault::Export;
use tokio::time::Instant;
use tracing::Instrument as _;
use tracing::field::display;

use super::segment::Segment;
use crate::attempt::Attempt;
use crate::handler::Handler;
use crate::report::AttemptReport;

/// An event of the state machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum ExportEvent {
    /// Write a segment.
    WriteSegment {
        /// The export.
        export: Export,
        /// The number of the segment, from 1.
        segment: u32,
        /// Earlier tries.
        retries: u32,
    },
    /// Join the segments.
    FinishExport {
        /// The export.
        export: Export,
        /// Earlier tries.
        retries: u32,
    },
    /// Mark the row `failed`.
    FailExport {
        /// The export.
        export: Export,
        /// The name of the error with which the state machine gave up.
        cause: String,
    },
}

/// The answer to the state machine, which ignores it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ExportAnswer {
    /// What happened, as in the outcome line.
    pub result: &'static str,
}

impl ExportEvent {
    /// Parses an event. Returns `None` for an event of another kind.
    ///
    /// # Errors
    /// When the event is malformed.
    #[must_use]
    pub fn parse(payload: &Value) -> Option<Result<Self, InvocationError>> {
        let kinds = ["write_segment", "finish_export", "fail_export"];
        kinds.iter().find(|kind| payload.get(**kind).is_some())?;
        Some(Self::deserialize(payload).map_err(|error| {
            InvocationError::invalid_payload(format!(
                "the event of an export is malformed: {error}"
            ))
        }))
    }

    /// Returns the kind of the event.
    fn name(&self) -> &'static str {
        match self {
            Self::WriteSegment { .. } => "write_segment",
            Self::FinishExport { .. } => "finish_export",
            Self::FailExport { .. } => "fail_export",
        }
    }

    fn export(&self) -> &Export {
        match self {
            Self::WriteSegment { export, .. }
            | Self::FinishExport { export, .. }
            | Self::FailExport { export, .. } => export,
        }
    }
}

impl Handler {
    /// Carries out an event of the state machine.
    ///
    /// # Errors
    /// When a service fails: the state machine tries again. When the failure is permanent, which the type of
    /// the error says: it marks the row `failed`.
    pub(crate) async fn export(
        &self,
        event: ExportEvent,
        invocation: &LambdaEvent<Value>,
    ) -> Result<ExportAnswer, InvocationError> {
        let now = Instant::now();
        let retries = match &event {
            ExportEvent::WriteSegment { retries, .. }
            | ExportEvent::FinishExport { retries, .. } => *retries,
            // The state machine has no try left.
            ExportEvent::FailExport { .. } => self.max_receive_count,
        };
        let context = &invocation.context;
        let export = event.export();
        let callers = [export.traceparent.as_deref(), context.xray_trace_id.as_deref()];
        let root = self.tracer.begin(&callers, &context.request_id);
        let attempt = Attempt {
            receive_count: retries.saturating_add(1),
            max_receive_count: self.max_receive_count,
            sent_at: None,
            begun_at: now,
            deadline: now + time_left(context, &self.clock),
            retry_base: self.retry_base,
            span: root,
        };
        let trace_id = root.map(|root| display(root.trace_id));
        let span = tracing::info_span!("export", bdr_id = %export.bdr_id, retries, trace_id);
        let working = async {
            let (worked, spans) = self.carry_out(event, attempt, &context.request_id).await;
            self.tracer.send(&spans, attempt.deadline).await;
            worked
        };
        working.instrument(span.clone()).await.map_err(|failure| {
            let _span = span.enter();
            tracing::warn!(error = chain(&failure), "{}", failed(&failure));
            InvocationError::from(failure)
        })
    }

    /// Returns the answer, and the spans of the work.
    async fn carry_out(
        &self,
        event: ExportEvent,
        attempt: Attempt,
        request_id: &str,
    ) -> (Result<ExportAnswer, Failure>, Vec<Span>) {
        let (name, kind) = (event.name(), SpanKind::Server);
        let bdr_id = Some(event.export().bdr_id);
        let mut report = AttemptReport::begin(&self.metrics, request_id, bdr_id, attempt);
        let phases = &mut report.phases;
        let outcome = match event {
            ExportEvent::WriteSegment { export, segment, .. } => {
                let worked = Box::pin(self.job.write_segment(&export, segment, &attempt, phases));
                let worked = worked.await;
                let duration = phases.end();
                if let Ok(Segment::Written { size_bytes, .. }) = worked {
                    report.add_segment(duration, size_bytes);
                }
                let spans = report.abandon(name, kind, |attributes| {
                    attributes.integer("segment", segment.into());
                    if let Ok(Segment::Written { size_bytes, artworks, missing }) = worked {
                        attributes.integer("size_bytes", size_bytes);
                        attributes.integer("artworks", artworks as u64);
                        attributes.integer("missing", missing as u64);
                    }
                    worked.as_ref().err().map(failed)
                });
                return (worked.map(|worked| answer(worked, segment, millis(duration))), spans);
            }
            ExportEvent::FinishExport { export, .. } => {
                report.wait = metrics::EXPORT_WAIT;
                let phases = &mut report.phases;
                let finished = Box::pin(self.job.finish_export(&export, &attempt, phases)).await;
                finished.map(|(outcome, sent_at)| {
                    report.sent_at = sent_at;
                    outcome
                })
            }
            ExportEvent::FailExport { export, cause } => {
                Box::pin(self.job.fail_export(&export, cause, &attempt, phases)).await
            }
        };
        match outcome {
            Ok(outcome) => {
                let spans = report.finish(&outcome, name, kind);
                (Ok(ExportAnswer { result: outcome.result() }), spans)
            }
            Err(failure) => {
                let spans = report.abandon(name, kind, |_| Some(failed(&failure)));
                (Err(failure), spans)
            }
        }
    }
}

/// Returns what the log and the trace say about an event that failed.
fn failed(failure: &Failure) -> &'static str {
    match failure.decision() {
        Decision::Retry => "failed; the state machine tries again",
        Decision::Fail => "failed permanently; the state machine ends the export",
    }
}

/// Logs what happened to a segment, and returns the answer.
fn answer(worked: Segment, segment: u32, duration_ms: u64) -> ExportAnswer {
    match worked {
        Segment::Written { size_bytes, artworks, missing } => {
            tracing::info!(
                segment,
                size_bytes,
                artworks,
                missing,
                duration_ms,
                "segment is written"
            );
            ExportAnswer { result: "written" }
        }
        Segment::Gone => {
            tracing::info!(segment, "the export is over; nothing to do");
            ExportAnswer { result: "skipped" }
        }
    }
}
