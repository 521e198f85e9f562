//! One attempt as one event: what is known of it, collected while it goes on, and told when it ends,
//! however it ends (by return, panic or cancellation), as the outcome line of the log and as metrics.

use std::time::Duration;

use serde_json::{Map, Value, json};
use shared::metrics::{self, Metrics, Record, millis};
use uuid::Uuid;

use crate::notify::EmailOutcome;
use crate::phases::{Phase, Phases};

/// How an attempt ended: the outcome line's `result`, and the dimension of `bdr_status_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The row is `ready` through this attempt.
    Ready,
    /// The row is `failed` through this attempt, and the artist is told.
    Failed,
    /// The row was released for a later attempt.
    Retried,
    /// The row was `ready`, `failed` or `expired` before.
    Skipped,
    /// There is no such request.
    NotFound,
    /// Somebody else closed the row meanwhile.
    Closed,
    /// A newer attempt holds the row.
    Superseded,
    /// The database did not let the attempt claim the row.
    Unclaimed,
    /// The attempt failed, and could not say so in the row.
    Unsettled,
    /// The message is not `{"bdr_id": "<uuid>"}`.
    Malformed,
    /// The attempt panicked where it could not be settled.
    Panicked,
    /// The attempt was dropped before it ended.
    Cancelled,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Ready,
        Self::Failed,
        Self::Retried,
        Self::Skipped,
        Self::NotFound,
        Self::Closed,
        Self::Superseded,
        Self::Unclaimed,
        Self::Unsettled,
        Self::Malformed,
        Self::Panicked,
        Self::Cancelled,
    ];

    /// As it stands in the log and in the metric.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Retried => "retried",
            Self::Skipped => "skipped",
            Self::NotFound => "not_found",
            Self::Closed => "closed",
            Self::Superseded => "superseded",
            Self::Unclaimed => "unclaimed",
            Self::Unsettled => "unsettled",
            Self::Malformed => "malformed",
            Self::Panicked => "panicked",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing went wrong.
    fn is_fine(self) -> bool {
        matches!(self, Self::Ready | Self::Skipped | Self::Closed | Self::Superseded)
    }

    /// The outcome in words.
    fn words(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Failed | Self::Retried | Self::Unclaimed | Self::Unsettled => {
                "the attempt failed"
            }
            Self::Skipped => "already processed",
            Self::NotFound => "there is no such request",
            Self::Closed => "another attempt was first",
            Self::Superseded => "a newer attempt is at work",
            Self::Malformed => {
                "the message is not {\"bdr_id\": \"<uuid>\"}; it goes to the dead-letter queue"
            }
            Self::Panicked => "the attempt panicked",
            Self::Cancelled => "the attempt was cancelled",
        }
    }
}

/// What is known of an attempt. Told when it is dropped.
pub(crate) struct Event<'a> {
    metrics: &'a Metrics,
    request_id: &'a str,
    bdr_id: Option<Uuid>,
    receive_count: u32,
    /// Where the time goes.
    pub(crate) phases: Phases,
    /// How it ended, once that is known.
    pub(crate) status: Option<Status>,
    /// Why, when something went wrong.
    pub(crate) error: Option<String>,
    /// Whether it held the row.
    pub(crate) claimed: bool,
    /// Whether the message comes back for another attempt.
    pub(crate) comes_back: bool,
    /// The ZIP that stands in the vault.
    pub(crate) stored: Option<Contents>,
    /// What became of the e-mail.
    pub(crate) email: Option<EmailOutcome>,
}

/// What stands in the vault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contents {
    /// Size of the ZIP in bytes.
    pub(crate) size_bytes: u64,
    /// Artworks in it; in an adopted one, as many as were requested.
    pub(crate) artworks: usize,
    /// Artworks that it lacks.
    pub(crate) missing: usize,
    /// Another attempt wrote it; what is in it was not counted.
    pub(crate) adopted: bool,
}

impl<'a> Event<'a> {
    /// An attempt begins, in the invocation `request_id`.
    pub(crate) fn begin(
        metrics: &'a Metrics,
        request_id: &'a str,
        bdr_id: Option<Uuid>,
        receive_count: u32,
    ) -> Self {
        Self {
            metrics,
            request_id,
            bdr_id,
            receive_count,
            phases: Phases::begin(),
            status: None,
            error: None,
            claimed: false,
            comes_back: false,
            stored: None,
            email: None,
        }
    }

    fn log(&self, status: Status, duration: Duration) {
        let phase = |phase| self.claimed.then(|| millis(self.phases.spent(phase)));
        // The level is a constant of the place where it is logged.
        macro_rules! outcome {
            ($level:ident) => {
                tracing::$level!(
                    result = status.as_str(),
                    error = self.error,
                    duration_ms = millis(duration),
                    claim_ms = phase(Phase::Claim),
                    load_ms = phase(Phase::Load),
                    fetch_ms = phase(Phase::Fetch),
                    write_ms = phase(Phase::Write),
                    upload_ms = phase(Phase::Upload),
                    finish_ms = phase(Phase::Finish),
                    notify_ms = phase(Phase::Notify),
                    size_bytes = self.stored.map(|stored| stored.size_bytes),
                    artworks = self.stored.map(|stored| stored.artworks),
                    missing = self.stored.map(|stored| stored.missing),
                    adopted = self.stored.map(|stored| stored.adopted),
                    email = self.email.map(EmailOutcome::as_str),
                    gb_seconds = self.metrics.gb_seconds(duration),
                    "{}{}",
                    self.bdr_id.map(|bdr_id| format!("BDR {bdr_id}: ")).unwrap_or_default(),
                    status.words()
                )
            };
        }
        if status.is_fine() { outcome!(info) } else { outcome!(error) }
    }

    /// What every line of this event says of it.
    fn properties(&self, more: (&str, Value)) -> Map<String, Value> {
        Map::from_iter(
            [
                ("event", json!("attempt")),
                ("requestId", json!(self.request_id)),
                ("bdr_id", json!(self.bdr_id)),
                ("receive_count", json!(self.receive_count)),
                more,
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        )
    }

    /// The wide event, a line for each phase, and, for a request that is `ready`, the zero of those
    /// that failed.
    fn records(&self, status: Status, duration: Duration) -> Vec<Record> {
        let mut whole = Record::of(self.properties(("status", json!(status.as_str()))));
        whole.put(metrics::STATUS, 1);
        whole.put(metrics::RETRIED, u8::from(self.comes_back));
        if let Some(email @ (EmailOutcome::Sent | EmailOutcome::Failed)) = self.email {
            whole.put(metrics::EMAIL_FAILED, u8::from(email == EmailOutcome::Failed));
        }
        if self.claimed {
            whole.put(metrics::PROCESSING_DURATION, duration.as_secs_f64());
        }
        let mut records = Vec::with_capacity(Phase::ALL.len() + 2);
        if let (Status::Ready, Some(stored)) = (status, self.stored) {
            whole.put(metrics::FILE_SIZE, stored.size_bytes);
            if !stored.adopted {
                whole.put(metrics::ARTWORKS, stored.artworks);
                whole.put(metrics::ARTWORKS_FAILED, stored.missing);
            }
            let mut not_failed =
                Record::of(self.properties(("status", json!(Status::Failed.as_str()))));
            not_failed.put(metrics::STATUS, 0);
            records.push(not_failed);
        }
        records.insert(0, whole);
        let entered = |phase: &Phase| self.claimed && !self.phases.spent(*phase).is_zero();
        records.extend(Phase::ALL.into_iter().filter(entered).map(|phase| {
            let mut record = Record::of(self.properties(("phase", json!(phase.as_str()))));
            record.put(metrics::PHASE_DURATION, self.phases.spent(phase).as_secs_f64());
            record
        }));
        records
    }
}

impl Drop for Event<'_> {
    fn drop(&mut self) {
        let duration = self.phases.end();
        let ended_early =
            if std::thread::panicking() { Status::Panicked } else { Status::Cancelled };
        let status = self.status.unwrap_or(ended_early);
        self.log(status, duration);
        self.metrics.emit(&self.records(status, duration));
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use shared::clock::Clock;
    use shared::metrics::Metrics;

    use super::{Event, Status};

    #[test]
    fn every_status_is_listed() {
        let places = Status::ALL.map(|status| status as usize);
        assert!(places.into_iter().eq(0..Status::ALL.len()), "{places:?}");
        assert_eq!(Status::Cancelled as usize + 1, Status::ALL.len(), "no later one is forgotten");
    }

    #[test]
    fn an_attempt_that_panics_is_told() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&lines);
        let metrics = Metrics::to(Clock::system(), 512, move |lines: &[u8]| {
            told.lock().unwrap().extend_from_slice(lines);
        });
        let attempt = || {
            let _event = Event::begin(&metrics, "r-1", None, 1);
            panic!("a defect");
        };
        assert!(catch_unwind(AssertUnwindSafe(attempt)).is_err());
        let line: Value = serde_json::from_slice(&lines.lock().unwrap()).expect("one line");
        assert_eq!(line["status"], "panicked");
        assert_eq!(line["bdr_status_total"], 1);
    }
}
