//! The report of an attempt: the outcome line of the log and the metrics, each written once.

use std::time::Duration;

use serde_json::{Map, Value, json};
use shared::metrics::{self, Metric, Metrics, Record, millis};
use shared::trace::{Attributes, Span, SpanKind};
use time::OffsetDateTime;
use tracing::Level;
use uuid::Uuid;

use crate::archive::StoredArchive;
use crate::attempt::Attempt;
use crate::email::EmailOutcome;
use crate::outcome::AttemptOutcome;
use crate::phases::{Phase, Phases};
use crate::spans;

/// The report of one attempt, written by [`AttemptReport::finish`]. Dropped unfinished, it reports
/// `cancelled`.
pub(crate) struct AttemptReport<'a> {
    metrics: &'a Metrics,
    request_id: &'a str,
    bdr_id: Option<Uuid>,
    attempt: Attempt,
    /// The time spent so far, by phase.
    pub(crate) phases: Phases,
    /// The time at which the message was sent, if it is known.
    pub(crate) sent_at: Option<OffsetDateTime>,
    /// The metric of the time since then.
    pub(crate) wait: Metric,
    is_written: bool,
}

impl<'a> AttemptReport<'a> {
    /// Begins the report of an attempt in the invocation `request_id`.
    pub(crate) fn begin(
        metrics: &'a Metrics,
        request_id: &'a str,
        bdr_id: Option<Uuid>,
        attempt: Attempt,
    ) -> Self {
        let phases = Phases::begin();
        let (sent_at, wait) = (attempt.sent_at, metrics::WAIT);
        Self { metrics, request_id, bdr_id, attempt, phases, sent_at, wait, is_written: false }
    }

    /// Writes the outcome line and the metrics. Returns the spans of the attempt, the first of which has this
    /// name and kind; none if tracing is off.
    pub(crate) fn finish(
        mut self,
        outcome: &AttemptOutcome,
        name: &'static str,
        kind: SpanKind,
    ) -> Vec<Span> {
        self.write(outcome);
        self.spans(name, kind, |attributes| {
            attributes.text("result", outcome.result());
            if let Some(archive) = outcome.archive() {
                attributes.integer("artworks", archive.artworks as u64);
                attributes.integer("missing", archive.missing as u64);
                attributes.integer("size_bytes", archive.size_bytes);
                attributes.flag("adopted", archive.adopted);
            }
            (outcome.level(&self.attempt) != Level::INFO).then(|| outcome.message())
        })
    }

    /// Ends without a report: the caller reports something else. Returns the spans of the attempt as
    /// [`AttemptReport::finish`] does; `describe` adds attributes and returns the description of a failure.
    pub(crate) fn abandon(
        mut self,
        name: &'static str,
        kind: SpanKind,
        describe: impl FnOnce(&mut Attributes) -> Option<&'static str>,
    ) -> Vec<Span> {
        self.is_written = true;
        self.phases.end();
        self.spans(name, kind, describe)
    }

    fn spans(
        &self,
        name: &'static str,
        kind: SpanKind,
        describe: impl FnOnce(&mut Attributes) -> Option<&'static str>,
    ) -> Vec<Span> {
        let Some(root) = self.attempt.span else { return Vec::new() };
        let mut attributes = Attributes::default();
        if let Some(bdr_id) = self.bdr_id {
            attributes.text("bdr_id", bdr_id.to_string());
        }
        attributes.text("requestId", self.request_id);
        let receive_count = u64::from(self.attempt.receive_count);
        match kind {
            SpanKind::Consumer => attributes.integer("receive_count", receive_count),
            // The state machine counts the tries before this one.
            _ => attributes.integer("retries", receive_count.saturating_sub(1)),
        }
        let error = describe(&mut attributes);
        spans::of(root, name, kind, &self.phases, attributes, error)
    }

    /// Emits the metrics of a segment that is written.
    pub(crate) fn add_segment(&self, duration: Duration, size_bytes: u64) {
        let mut record = Record::of(self.properties(("status", json!("written"))));
        record.put(metrics::SEGMENT_DURATION, duration.as_secs_f64());
        record.put(metrics::SEGMENT_SIZE, size_bytes);
        self.metrics.emit(&[record]);
    }

    fn write(&mut self, outcome: &AttemptOutcome) {
        self.is_written = true;
        let duration = self.phases.end();
        self.log(outcome, duration);
        self.metrics.emit(&self.records(outcome, duration));
    }

    fn log(&self, outcome: &AttemptOutcome, duration: Duration) {
        let claimed = self.phases.has_entered(Phase::Load);
        let phase = |phase| claimed.then(|| millis(self.phases.spent(phase)));
        let archive = outcome.archive();
        let is_ready = matches!(outcome, AttemptOutcome::Ready { .. });
        let vault_trouble = self.phases.vault_trouble;
        let vault_trouble = (!vault_trouble.is_zero()).then(|| millis(vault_trouble));
        // `tracing` requires a constant level at each call site.
        macro_rules! outcome_line {
            ($level:ident) => {
                tracing::$level!(
                    result = outcome.result(),
                    error = outcome.error(),
                    duration_ms = millis(duration),
                    claim_ms = phase(Phase::Claim),
                    load_ms = phase(Phase::Load),
                    fetch_ms = phase(Phase::Fetch),
                    write_ms = phase(Phase::Write),
                    upload_ms = phase(Phase::Upload),
                    finish_ms = phase(Phase::Finish),
                    notify_ms = phase(Phase::Notify),
                    vault_trouble_ms = vault_trouble,
                    size_bytes = archive.map(|archive| archive.size_bytes),
                    copied_bytes =
                        archive.map(|archive| archive.copied_bytes).filter(|bytes| *bytes > 0),
                    artworks = archive.map(|archive| archive.artworks),
                    missing = archive.map(|archive| archive.missing),
                    adopted = archive.map(|archive| archive.adopted),
                    email = outcome.email().map(EmailOutcome::as_str),
                    email_skipped = outcome.email().and_then(EmailOutcome::skip_reason),
                    wait_ms = self.waited().filter(|_| is_ready).map(millis),
                    gb_seconds = self.metrics.gb_seconds(duration),
                    "{}{}",
                    self.bdr_id.map(|bdr_id| format!("BDR {bdr_id}: ")).unwrap_or_default(),
                    outcome.message()
                )
            };
        }
        match outcome.level(&self.attempt) {
            Level::INFO => outcome_line!(info),
            Level::WARN => outcome_line!(warn),
            _ => outcome_line!(error),
        }
    }

    /// Returns the time since the message was sent.
    fn waited(&self) -> Option<Duration> {
        self.sent_at.map(|sent_at| self.metrics.since(sent_at))
    }

    /// Returns the properties that every metrics line of this attempt has.
    fn properties(&self, more: (&str, Value)) -> Map<String, Value> {
        Map::from_iter(
            [
                ("event", json!("attempt")),
                ("requestId", json!(self.request_id)),
                ("bdr_id", json!(self.bdr_id)),
                ("receive_count", json!(self.attempt.receive_count)),
                more,
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        )
    }

    /// Returns one record for the attempt and, after a claim, one per phase with time spent. A `ready`
    /// request also emits 0 for `failed`, so that the average of `failed` is the share of failed requests.
    fn records(&self, outcome: &AttemptOutcome, duration: Duration) -> Vec<Record> {
        let status = |status: &str| Record::of(self.properties(("status", json!(status))));
        let claimed = self.phases.has_entered(Phase::Load);
        let mut whole = status(outcome.result());
        whole.put(metrics::STATUS, 1);
        whole.put(metrics::RETRIED, u8::from(outcome.is_retried(&self.attempt)));
        if let Some(email @ (EmailOutcome::Sent | EmailOutcome::Failed)) = outcome.email() {
            whole.put(metrics::EMAIL_FAILED, u8::from(email == EmailOutcome::Failed));
        }
        if claimed {
            whole.put(metrics::PROCESSING_DURATION, duration.as_secs_f64());
        }
        let mut records = Vec::with_capacity(Phase::ALL.len() + 2);
        if let AttemptOutcome::Ready { archive, .. } = outcome {
            put_archive(&mut whole, archive);
            if let Some(waited) = self.waited() {
                whole.put(self.wait, waited.as_secs_f64());
            }
            let mut not_failed = status("failed");
            not_failed.put(metrics::STATUS, 0);
            records.push(not_failed);
        }
        records.insert(0, whole);
        let spent = |phase: &Phase| claimed && !self.phases.spent(*phase).is_zero();
        records.extend(Phase::ALL.into_iter().filter(spent).map(|phase| {
            let mut record = Record::of(self.properties(("phase", json!(phase.as_str()))));
            record.put(metrics::PHASE_DURATION, self.phases.spent(phase).as_secs_f64());
            record
        }));
        records
    }
}

fn put_archive(record: &mut Record, archive: &StoredArchive) {
    record.put(metrics::FILE_SIZE, archive.size_bytes);
    if archive.counted {
        record.put(metrics::ARTWORKS, archive.artworks);
        record.put(metrics::ARTWORKS_FAILED, archive.missing);
        record.put(metrics::MISSING_SHARE, archive.missing_share());
    }
}

impl Drop for AttemptReport<'_> {
    fn drop(&mut self) {
        if !self.is_written {
            self.write(&AttemptOutcome::Cancelled);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use serde_json::Value;
    use shared::clock::Clock;
    use shared::metrics::Metrics;
    use shared::trace::SpanKind;
    use tokio::time::Instant;

    use super::AttemptReport;
    use crate::attempt::Attempt;
    use crate::outcome::AttemptOutcome;

    /// Returns the metrics lines that `report` causes.
    fn emitted(report: impl FnOnce(AttemptReport<'_>)) -> Vec<Value> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let metrics = Metrics::to(Clock::system(), "test", 512, move |lines: &[u8]| {
            sink.lock().unwrap().extend_from_slice(lines);
        });
        let attempt = Attempt {
            receive_count: 1,
            max_receive_count: 4,
            sent_at: None,
            begun_at: Instant::now(),
            deadline: Instant::now(),
            retry_base: Duration::from_mins(1),
            span: None,
        };
        report(AttemptReport::begin(&metrics, "r-1", None, attempt));
        let lines = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[test]
    fn a_finished_report_is_written_once() {
        let lines = emitted(|report| {
            let spans = report.finish(&AttemptOutcome::Panicked, "attempt", SpanKind::Consumer);
            assert!(spans.is_empty(), "tracing is off");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["status"], "panicked");
        assert_eq!(
            (&lines[0]["bdr_status_total"], &lines[0]["requestId"]),
            (&1.into(), &"r-1".into())
        );
        assert_eq!(lines[0]["bdr_attempts_retried_total"], 1);
    }

    #[test]
    fn a_dropped_report_reports_a_cancellation() {
        let lines = emitted(|_report| {});
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["status"], "cancelled");
    }
}
