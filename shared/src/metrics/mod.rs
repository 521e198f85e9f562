//! Metrics as lines of CloudWatch's embedded metric format (EMF) on standard output. CloudWatch
//! extracts the metrics from the log, without an API call or an agent.
//!
//! All metric names are defined here; `infra/observability.yaml` and the alarms of `template.yaml`
//! use no others. Each attempt and each cleanup run emits its metrics once, also after an early
//! return, a panic or a cancellation.
//!
//! # Why there is no crate for EMF
//! `metrique` 0.1.33 adds 44 packages to `process-bdr-job` with any set of features (its EMF
//! formatter needs a background queue, a bridge to `metrics`, and `tracing-subscriber` with
//! defaults that forward the records of `log`) and 644,536 bytes to the stripped binary, which then
//! exceeds 12 MiB. `metrics_cloudwatch_embedded` 0.10 is small (3 packages), but has one recorder
//! per process, so that the counts of two concurrent attempts would mix. A line is one JSON object,
//! and a test checks each line that a scenario emits against the specification of EMF.

mod emf;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::clock::Clock;

/// Namespace of all metrics.
pub const NAMESPACE: &str = "MakapixBDR";

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The name.
    pub name: &'static str,
    /// The unit as CloudWatch spells it.
    pub unit: &'static str,
    /// The sets of dimensions. CloudWatch keeps one metric for each set and each value of its
    /// members. Each set contains [`STACK`].
    pub dimensions: &'static [&'static [&'static str]],
}

/// The dimension of every metric: the name of the stack, so that two stacks in an account share no
/// metric.
pub const STACK: &str = "stack";
/// A metric of the stack without another dimension.
const OF_STACK: &[&[&str]] = &[&[STACK]];

/// Seconds from the receive of a message to the end of its attempt, for each attempt that claimed
/// the row.
pub const PROCESSING_DURATION: Metric =
    Metric { name: "bdr_processing_duration_seconds", unit: "Seconds", dimensions: OF_STACK };
/// Bytes of the ZIP of a request that became `ready`.
pub const FILE_SIZE: Metric =
    Metric { name: "bdr_file_size_bytes", unit: "Bytes", dimensions: OF_STACK };
/// Artworks in the ZIP of a request that became `ready`. Not emitted for an adopted ZIP without counts
/// in its comment, which an earlier version wrote.
pub const ARTWORKS: Metric =
    Metric { name: "bdr_artworks_count", unit: "Count", dimensions: OF_STACK };
/// Artworks missing from such a ZIP.
pub const ARTWORKS_FAILED: Metric =
    Metric { name: "bdr_artworks_failed_total", unit: "Count", dimensions: OF_STACK };
/// Share of the requested artworks, from 0 to 1, that such a ZIP lacks.
pub const MISSING_SHARE: Metric =
    Metric { name: "bdr_missing_share", unit: "None", dimensions: OF_STACK };
/// Seconds from the time at which the message was sent to the `ready` row and its e-mail: the artist's
/// wait, with all attempts. A redrive by an operator and a republish by the cleanup send the message again.
pub const WAIT: Metric = Metric { name: "bdr_wait_seconds", unit: "Seconds", dimensions: OF_STACK };
/// The same for a large export, whose hours would hide the seconds of the others.
pub const EXPORT_WAIT: Metric =
    Metric { name: "bdr_export_wait_seconds", unit: "Seconds", dimensions: OF_STACK };
/// Seconds of an invocation that wrote a segment of a large export.
pub const SEGMENT_DURATION: Metric =
    Metric { name: "bdr_segment_duration_seconds", unit: "Seconds", dimensions: OF_STACK };
/// Bytes of such a segment.
pub const SEGMENT_SIZE: Metric =
    Metric { name: "bdr_segment_size_bytes", unit: "Bytes", dimensions: OF_STACK };
/// Attempts by outcome. An attempt with the outcome `ready` emits 1 for `ready` and 0 for `failed`,
/// so that the average of `failed` is the share of failed requests.
pub const STATUS: Metric =
    Metric { name: "bdr_status_total", unit: "Count", dimensions: &[&[STACK, "status"]] };
/// E-mails that failed to send (1) or that SES accepted (0).
pub const EMAIL_FAILED: Metric =
    Metric { name: "bdr_email_failed_total", unit: "Count", dimensions: OF_STACK };
/// Attempts that returned their message for another attempt (1) or did not (0).
pub const RETRIED: Metric =
    Metric { name: "bdr_attempts_retried_total", unit: "Count", dimensions: OF_STACK };
/// Seconds that an attempt spent in one phase, for each attempt that claimed the row.
pub const PHASE_DURATION: Metric = Metric {
    name: "bdr_phase_duration_seconds",
    unit: "Seconds",
    dimensions: &[&[STACK, "phase"]],
};
/// Requests that a cleanup marked `expired`.
pub const CLEANUP_EXPIRED: Metric =
    Metric { name: "bdr_cleanup_expired_total", unit: "Count", dimensions: OF_STACK };
/// Requests that a cleanup failed to clean up, plus 1 if the run did not succeed.
pub const CLEANUP_ERRORS: Metric =
    Metric { name: "bdr_cleanup_errors_total", unit: "Count", dimensions: OF_STACK };
/// Cleanups of all tasks (the daily ones) that succeeded. The hourly ones do not count, so that an
/// alarm detects a missed day.
pub const CLEANUP_COMPLETED: Metric =
    Metric { name: "bdr_cleanup_completed_total", unit: "Count", dimensions: OF_STACK };

/// Runs of the canary: 1 if the request of the run before became `ready` with a complete ZIP, 0
/// otherwise.
pub const CANARY_SUCCEEDED: Metric =
    Metric { name: "bdr_canary_succeeded_total", unit: "Count", dimensions: OF_STACK };

/// All metrics.
pub const ALL: [Metric; 17] = [
    PROCESSING_DURATION,
    FILE_SIZE,
    ARTWORKS,
    ARTWORKS_FAILED,
    MISSING_SHARE,
    WAIT,
    EXPORT_WAIT,
    SEGMENT_DURATION,
    SEGMENT_SIZE,
    STATUS,
    EMAIL_FAILED,
    RETRIED,
    PHASE_DURATION,
    CLEANUP_EXPIRED,
    CLEANUP_ERRORS,
    CLEANUP_COMPLETED,
    CANARY_SUCCEEDED,
];

/// A sink for whole lines.
type Writer = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// The output of metrics.
#[derive(Clone)]
pub struct Metrics {
    clock: Clock,
    write: Writer,
    stack: Arc<str>,
    memory_mib: u64,
}

/// A line: properties, some of which are metrics.
#[derive(Debug, Default)]
pub struct Record {
    properties: Map<String, Value>,
    metrics: Vec<Metric>,
}

impl Record {
    /// Creates a line with these properties, some of which may be values of dimensions.
    #[must_use]
    pub fn of(properties: Map<String, Value>) -> Self {
        Self { properties, metrics: Vec::new() }
    }

    /// Adds the value of a metric.
    pub fn put(&mut self, metric: Metric, value: impl Into<Value>) {
        self.properties.insert(metric.name.to_owned(), value.into());
        self.metrics.push(metric);
    }
}

impl Metrics {
    /// Creates an output to standard output, for a function of `stack` with `memory_mib` MiB of memory.
    #[must_use]
    pub fn to_stdout(clock: Clock, stack: &str, memory_mib: u64) -> Self {
        Self::to(clock, stack, memory_mib, |lines| {
            // A failure to write metrics must not fail the job.
            let mut stdout = std::io::stdout().lock();
            let _ = stdout.write_all(lines).and_then(|()| stdout.flush());
        })
    }

    /// Creates an output to `write`, which gets whole lines.
    #[must_use]
    pub fn to(
        clock: Clock,
        stack: &str,
        memory_mib: u64,
        write: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Self {
        Self { clock, write: Arc::new(write), stack: stack.into(), memory_mib }
    }

    /// Writes all records before it returns.
    pub fn emit(&self, records: &[Record]) {
        let timestamp_ms = self.clock.now().unix_timestamp_nanos() / 1_000_000;
        let lines: String = records
            .iter()
            .map(|record| emf::line(record, &self.stack, timestamp_ms) + "\n")
            .collect();
        (self.write)(lines.as_bytes());
    }

    /// Returns the time since `at`, by the clock of the timestamps.
    #[must_use]
    pub fn since(&self, at: OffsetDateTime) -> Duration {
        (self.clock.now() - at).try_into().unwrap_or_default()
    }

    /// Returns the GB-seconds that Lambda charges for `duration` of this function, without the
    /// initialization of an environment, requests, and the charges of other services.
    #[must_use]
    pub fn gb_seconds(&self, duration: Duration) -> f64 {
        let mib = u32::try_from(self.memory_mib).unwrap_or(u32::MAX);
        (duration.as_secs_f64() * f64::from(mib) / 1024.0 * 1e6).round() / 1e6
    }
}

/// Returns whole milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
