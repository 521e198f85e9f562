//! Metrics, as CloudWatch embedded metric format (EMF) lines on standard output.
//!
//! The names stand here and nowhere else.

use std::io::Write;

use serde_json::json;

use crate::clock::Clock;

/// Namespace of all metrics.
pub const NAMESPACE: &str = "MakapixBDR";

/// E-mails that SES did not take.
pub const EMAIL_FAILED: &str = "bdr_email_failed_total";
/// Requests whose ZIPs the cleanup has deleted.
pub const CLEANUP_EXPIRED: &str = "bdr_cleanup_expired_total";
/// Requests and objects that a cleanup could not deal with.
pub const CLEANUP_ERRORS: &str = "bdr_cleanup_errors_total";

/// Adds `value` to the counter `name`.
pub fn count(name: &'static str, value: usize, clock: &Clock) {
    let line = emf_count(name, value, clock);
    // A metric that cannot be written must not fail the job it counts.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn emf_count(name: &'static str, value: usize, clock: &Clock) -> serde_json::Value {
    json!({
        "_aws": {
            "Timestamp": clock.now().unix_timestamp_nanos() / 1_000_000,
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [[]],
                "Metrics": [{ "Name": name, "Unit": "Count" }],
            }],
        },
        name: value,
    })
}

#[cfg(test)]
mod tests {
    use super::{EMAIL_FAILED, emf_count};
    use crate::clock::Clock;

    #[test]
    fn a_count_is_an_emf_line() {
        let line = emf_count(EMAIL_FAILED, 1, &Clock::fixed(time::OffsetDateTime::UNIX_EPOCH));
        assert_eq!(line["bdr_email_failed_total"], 1);
        assert_eq!(line["_aws"]["Timestamp"], 0);
        assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Name"], EMAIL_FAILED);
    }
}
