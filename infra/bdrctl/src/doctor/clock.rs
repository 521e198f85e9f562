//! The clocks. AWS rejects signatures made by a wrong clock, and archives expire by the database's.

use anyhow::Result;
use shared::clock::Clock;
use time::{Duration, OffsetDateTime};

use super::diagnosis::Diagnosis;

/// A skew without effect.
const SMALL: Duration = Duration::seconds(30);
/// The skew from which AWS rejects requests (Signature Version 4: 5 minutes).
const LARGE: Duration = Duration::minutes(5);

/// Compares this machine's clock with another one.
pub(super) fn compare(
    diagnosis: &mut Diagnosis,
    check: &'static str,
    other: Result<OffsetDateTime>,
) {
    let skew = match other {
        Ok(other) => (other - Clock::system().now()).abs(),
        Err(error) => return diagnosis.not_checked(check, &error, "See the findings above."),
    };
    let found = format!("differs from this machine's clock by {} s", skew.whole_seconds());
    let advice = "Synchronize this machine's clock (NTP), then run `bdrctl doctor` again. If the other \
                  clock is wrong, archives expire early or late, and AWS rejects signatures.";
    match skew {
        skew if skew <= SMALL => diagnosis.ok(check, found),
        skew if skew < LARGE => diagnosis.warning(check, found, advice),
        _ => diagnosis.error(check, found, advice),
    }
}

#[cfg(test)]
mod tests {
    use shared::clock::Clock;
    use time::Duration;

    use super::super::diagnosis::{Diagnosis, Level};
    use super::compare;

    #[test]
    fn a_skew_counts_in_both_directions() {
        for (seconds, level) in
            [(2, Level::Ok), (-2, Level::Ok), (60, Level::Warning), (-400, Level::Error)]
        {
            let mut diagnosis = Diagnosis::default();
            let other = Clock::system().now() + Duration::seconds(seconds);
            compare(&mut diagnosis, "clock", Ok(other));
            assert_eq!(diagnosis.count(level), 1, "{seconds}");
        }
    }
}
