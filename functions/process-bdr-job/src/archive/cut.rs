//! Where an archive that is too large for one attempt is cut into segments.

use std::time::Duration;

use tokio::time::Instant;

use crate::attempt::Attempt;

/// The size of segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    /// `SEGMENT_BYTES`: the bytes after which an archive is cut into segments, at the latest, and which another
    /// segment has at most, as far as its artworks are like those of the first.
    pub bytes: u64,
    /// Maximum number of artworks in a segment, and of posts that an invocation reads at once.
    pub artworks: usize,
}

/// Maximum number of artworks in a segment of a deployed function. With short texts, their posts and their manifest
/// are documents of 10 MB, and take 20 MB when parsed.
pub const SEGMENT_ARTWORKS: usize = 20_000;
/// The share of a segment after which the first one may end early, as a divisor, and the segments that the request
/// must be foreseen to have. With artworks of 5 MiB, 15 GiB and segments of 1 GiB, the others begin after 2 s, not
/// after 17 s. A smaller request is foreseen as a large one only if its later artworks have less than a quarter of
/// the size of its first ones.
const EARLY_SHARE: u64 = 8;
const EARLY_SEGMENTS: u64 = 4;
/// Minimum number of artworks from which the size of a request is foreseen.
const EARLY_ARTWORKS: usize = 32;
/// Iterations of an inline map that can run at the same time, about (AWS Step Functions, "Using the Map state").
const AT_ONCE: u128 = 40;
/// Minimum size of segments that are smaller than `SEGMENT_BYTES` so that as many can be written at once, in bytes. The
/// start of an invocation takes a third of the time of its bytes.
const AT_ONCE_BYTES: u128 = 64 * 1024 * 1024;
/// Maximum number of segments after the first. A segment has about 8 of the 25,000 events of an execution
/// (AWS Step Functions, "Quotas related to state machine executions").
const MAX_SEGMENTS: usize = 2_500;

/// The limit of one segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentLimit {
    /// The size of the first segment, and the number of requested artworks; `None` for another segment, which
    /// ends with its artworks.
    first: Option<(Segments, usize)>,
    until: Instant,
}

impl Segments {
    /// Returns the limit of the first segment. Besides its bytes, half of the attempt's time: what is left
    /// then may not fit into the other half.
    pub(super) fn limit(self, requested: usize, attempt: &Attempt) -> SegmentLimit {
        let now = Instant::now();
        let left = attempt.stop_at().saturating_duration_since(now);
        SegmentLimit { first: Some((self, requested)), until: now + left / 2 }
    }

    /// Returns whether the first segment is full with these bytes and artworks, missing ones included, of
    /// `requested` ones: it has the bytes of a segment, or an eighth of them, if the request is foreseen to have
    /// four times as many.
    #[must_use]
    pub fn is_full(self, bytes: u64, artworks: usize, requested: usize) -> bool {
        if bytes >= self.bytes || artworks >= self.artworks {
            return true;
        }
        if bytes < self.bytes / EARLY_SHARE || artworks < EARLY_ARTWORKS {
            return false;
        }
        let foreseen = u128::from(bytes) * requested as u128 / artworks as u128;
        foreseen >= u128::from(self.bytes) * u128::from(EARLY_SEGMENTS)
    }

    /// Returns the number of segments for `left` artworks, by the artworks, bytes and time of the first
    /// segment. A segment takes at most a third of the time of an attempt, as far as its artworks are like
    /// those. There are as many as can be written at once, unless they would be small.
    #[must_use]
    pub fn count(self, left: usize, first: &Pace, time: Duration) -> usize {
        let fitting = |limit: u128, spent: u128| {
            let artworks = limit.saturating_mul(first.artworks as u128).checked_div(spent);
            artworks.and_then(|it| usize::try_from(it).ok()).unwrap_or(self.artworks)
        };
        let by_bytes = fitting(self.bytes.into(), first.bytes.into());
        let by_time = fitting((time / 3).as_millis(), first.time.as_millis());
        let in_one = by_bytes.min(by_time).clamp(1, self.artworks);
        let bytes_left = u128::from(first.bytes).saturating_mul(left as u128);
        let bytes_left = bytes_left.checked_div(first.artworks as u128).unwrap_or_default();
        let at_once =
            usize::try_from((bytes_left / AT_ONCE_BYTES).min(AT_ONCE)).unwrap_or_default();
        left.div_ceil(in_one).max(at_once.min(left)).min(MAX_SEGMENTS)
    }
}

impl SegmentLimit {
    /// Returns the limit of a segment whose artworks are chosen: it ends with them.
    pub(super) fn none(attempt: &Attempt) -> Self {
        Self { first: None, until: attempt.deadline }
    }

    pub(super) fn is_reached(&self, bytes: u64, artworks: usize, missing: usize) -> bool {
        // The clock costs a system call on some processors.
        let is_late = artworks.is_multiple_of(16) && Instant::now() >= self.until;
        let is_full = |(segments, requested): (Segments, _)| {
            Segments::is_full(segments, bytes, artworks + missing, requested)
        };
        is_late || self.first.is_some_and(is_full)
    }
}

/// What the first segment cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Artworks in it, and missing ones.
    pub artworks: usize,
    /// Its size in bytes.
    pub bytes: u64,
    /// The time that it took.
    pub time: Duration,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{MAX_SEGMENTS, Pace, Segments};

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn segments_have_the_bytes_and_take_at_most_a_third_of_the_time() {
        let segments = Segments { bytes: 1_000, artworks: 200 };
        let count = |left, artworks, bytes, seconds| {
            let first = Pace { artworks, bytes, time: Duration::from_secs(seconds) };
            segments.count(left, &first, Duration::from_mins(15))
        };
        assert_eq!(count(100, 10, 1_000, 1), 10, "by bytes");
        assert_eq!(count(100, 10, 10, 300), 10, "by time");
        assert_eq!(count(1, 10, 1_000_000, 1), 1);
        assert_eq!(count(5, 1, u64::MAX, u64::MAX), 5, "at least one artwork each");
        assert_eq!(count(usize::MAX, 1, 1, 1), MAX_SEGMENTS);
        assert_eq!(count(201, 0, 0, 0), 2, "without any artwork so far");
    }

    #[test]
    fn as_many_segments_as_are_written_at_once_have_64_mib_or_more() {
        let segments = Segments { bytes: 1024 * MIB, artworks: 20_000 };
        let first = Pace { artworks: 30, bytes: 150 * MIB, time: Duration::from_secs(2) };
        let count = |left| segments.count(left, &first, Duration::from_mins(15));
        assert_eq!(count(2_970), 40, "of 371 MiB");
        assert_eq!(count(256), 20, "of 64 MiB");
        assert_eq!(count(10_000), 50, "of 1 GiB");
    }

    #[test]
    fn the_first_segment_ends_early_in_a_request_that_is_foreseen_to_be_large() {
        let segments = Segments { bytes: 1024 * MIB, artworks: 20_000 };
        assert!(segments.is_full(160 * MIB, 32, 3_000));
        assert!(!segments.is_full(120 * MIB, 32, 3_000), "less than an eighth");
        assert!(!segments.is_full(155 * MIB, 31, 3_000), "too few artworks");
        assert!(!segments.is_full(160 * MIB, 32, 800), "less than four segments are foreseen");
        assert!(segments.is_full(1024 * MIB, 1, 2));
        assert!(segments.is_full(0, 20_000, 20_001));
    }
}
