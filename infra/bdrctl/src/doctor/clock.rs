//! The clocks: AWS refuses what was signed by one that is wrong, and URLs die by another.

use anyhow::Result;
use shared::clock::Clock;
use time::{Duration, OffsetDateTime};

use super::finding::Report;

/// A difference that nobody notices.
const SMALL: Duration = Duration::seconds(30);
/// The most that AWS bears (Signature Version 4: 5 minutes).
const LARGE: Duration = Duration::minutes(5);

/// Compares this machine's clock with another one.
pub(super) fn compare(report: &mut Report, check: &'static str, other: Result<OffsetDateTime>) {
    let skew = match other {
        Ok(other) => (other - Clock::system().now()).abs(),
        Err(error) => return report.not_checked(check, &error, "See to what stands above."),
    };
    let found = format!("it differs from this machine's by {} s", skew.whole_seconds());
    let advice = "Synchronize this machine's clock (NTP) and look again. If the other one is wrong, \
                  archives expire early or late, and signatures are refused.";
    match skew {
        skew if skew <= SMALL => report.ok(check, found),
        skew if skew < LARGE => report.warning(check, found, advice),
        _ => report.error(check, found, advice),
    }
}

#[cfg(test)]
mod tests {
    use shared::clock::Clock;
    use time::Duration;

    use super::super::finding::{Level, Report};
    use super::compare;

    #[test]
    fn a_clock_is_wrong_in_both_directions() {
        for (seconds, level) in
            [(2, Level::Ok), (-2, Level::Ok), (60, Level::Warning), (-400, Level::Error)]
        {
            let mut report = Report::default();
            compare(&mut report, "clock", Ok(Clock::system().now() + Duration::seconds(seconds)));
            assert_eq!(report.count(level), 1, "{seconds}");
        }
    }
}
