//! Metrics, as lines of CloudWatch's embedded metric format (EMF) on standard output, of which
//! CloudWatch makes metrics by itself: no call, no agent.
//!
//! The names stand here and nowhere else; `infra/observability.yaml` and the alarms of
//! `template.yaml` may use no other. Every attempt and every cleanup run is one event, typed where it
//! belongs and emitted when it is dropped: also after an early return, a panic or a cancellation.
//!
//! # Why no crate writes the lines
//! `metrique` 0.1.33 was tried: 44 more packages in `process-bdr-job`, whatever features are left out
//! (its EMF formatter wants a background queue, a bridge to `metrics`, and `tracing-subscriber` with
//! defaults that hand the records of `log` to our log), and 644,536 bytes more in the stripped
//! binary, which is then larger than 12 MiB. `metrics_cloudwatch_embedded` 0.10 is small (3 packages),
//! but records into one recorder a process, so that what two events count at once is mixed. What is
//! left to do is one JSON object, and a test holds every line that any scenario makes to the
//! specification of EMF.

mod emf;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::Clock;

/// Namespace of all metrics.
pub const NAMESPACE: &str = "MakapixBDR";

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its unit, as CloudWatch spells it.
    pub unit: &'static str,
    /// By what it is kept apart: a metric of its own for each set, and each value of its members.
    pub dimensions: &'static [&'static [&'static str]],
}

/// No dimension: one metric.
const WHOLE: &[&[&str]] = &[&[]];

/// Seconds from the receive of a message to the end of its attempt, for every attempt that held the
/// request's row.
pub const PROCESSING_DURATION: Metric =
    Metric { name: "bdr_processing_duration_seconds", unit: "Seconds", dimensions: WHOLE };
/// Bytes of a ZIP that became `ready`.
pub const FILE_SIZE: Metric =
    Metric { name: "bdr_file_size_bytes", unit: "Bytes", dimensions: WHOLE };
/// Artworks in a ZIP that became `ready`; none of an adopted one, whose content nobody has counted.
pub const ARTWORKS: Metric =
    Metric { name: "bdr_artworks_count", unit: "Count", dimensions: WHOLE };
/// Artworks that such a ZIP lacks.
pub const ARTWORKS_FAILED: Metric =
    Metric { name: "bdr_artworks_failed_total", unit: "Count", dimensions: WHOLE };
/// Attempts, by how they ended. Beside its 1, an attempt that ended a request as `ready` has a 0 for
/// `failed`: so the average of `failed` is the share of the requests that failed.
pub const STATUS: Metric =
    Metric { name: "bdr_status_total", unit: "Count", dimensions: &[&["status"]] };
/// E-mails that SES did not take (1) among those given to it (0).
pub const EMAIL_FAILED: Metric =
    Metric { name: "bdr_email_failed_total", unit: "Count", dimensions: WHOLE };
/// Attempts that gave their message back for another one (1) among all (0).
pub const RETRIED: Metric =
    Metric { name: "bdr_attempts_retried_total", unit: "Count", dimensions: WHOLE };
/// Seconds that an attempt which held the row spent in one phase.
pub const PHASE_DURATION: Metric =
    Metric { name: "bdr_phase_duration_seconds", unit: "Seconds", dimensions: &[&["phase"]] };
/// Requests whose ZIPs a cleanup has deleted.
pub const CLEANUP_EXPIRED: Metric =
    Metric { name: "bdr_cleanup_expired_total", unit: "Count", dimensions: WHOLE };
/// Requests and objects that a cleanup could not deal with; a run that failed counts as one more.
pub const CLEANUP_ERRORS: Metric =
    Metric { name: "bdr_cleanup_errors_total", unit: "Count", dimensions: WHOLE };
/// Cleanups of all tasks, the daily ones, that came to their end. The hourly ones do not count: that
/// is how a missed day shows.
pub const CLEANUP_COMPLETED: Metric =
    Metric { name: "bdr_cleanup_completed_total", unit: "Count", dimensions: WHOLE };

/// All metrics.
pub const ALL: [Metric; 11] = [
    PROCESSING_DURATION,
    FILE_SIZE,
    ARTWORKS,
    ARTWORKS_FAILED,
    STATUS,
    EMAIL_FAILED,
    RETRIED,
    PHASE_DURATION,
    CLEANUP_EXPIRED,
    CLEANUP_ERRORS,
    CLEANUP_COMPLETED,
];

/// Takes whole lines.
type Writer = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// Where metrics go.
#[derive(Clone)]
pub struct Metrics {
    clock: Clock,
    write: Writer,
    memory_mib: u64,
}

/// One line: what is known of an event, and which of it are metrics.
#[derive(Debug, Default)]
pub struct Record {
    properties: Map<String, Value>,
    metrics: Vec<Metric>,
}

impl Record {
    /// A line with these members, some of which may be the values of dimensions.
    #[must_use]
    pub fn of(properties: Map<String, Value>) -> Self {
        Self { properties, metrics: Vec::new() }
    }

    /// Adds a metric's value.
    pub fn put(&mut self, metric: Metric, value: impl Into<Value>) {
        self.properties.insert(metric.name.to_owned(), value.into());
        self.metrics.push(metric);
    }
}

impl Metrics {
    /// To standard output, of a function with so much memory, in MiB.
    #[must_use]
    pub fn to_stdout(clock: Clock, memory_mib: u64) -> Self {
        Self::to(clock, memory_mib, |lines| {
            // Metrics that cannot be written must not fail the job they are about.
            let mut stdout = std::io::stdout().lock();
            let _ = stdout.write_all(lines).and_then(|()| stdout.flush());
        })
    }

    /// To a writer of one's choice, which is given whole lines.
    #[must_use]
    pub fn to(
        clock: Clock,
        memory_mib: u64,
        write: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Self {
        Self { clock, write: Arc::new(write), memory_mib }
    }

    /// Writes records, all at once: they are out when this returns.
    pub fn emit(&self, records: &[Record]) {
        let timestamp_ms = self.clock.now().unix_timestamp_nanos() / 1_000_000;
        let lines: String =
            records.iter().map(|record| emf::line(record, timestamp_ms) + "\n").collect();
        (self.write)(lines.as_bytes());
    }

    /// What Lambda charges for so much time of this function, in GB-seconds. Left out: the start of a
    /// new environment, requests, and whatever other services charge.
    #[must_use]
    pub fn gb_seconds(&self, duration: Duration) -> f64 {
        let mib = u32::try_from(self.memory_mib).unwrap_or(u32::MAX);
        (duration.as_secs_f64() * f64::from(mib) / 1024.0 * 1e6).round() / 1e6
    }
}

/// Whole milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
