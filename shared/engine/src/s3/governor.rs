//! The rate of requests: never above what S3 accepts, and less while it throttles.
//!
//! S3 accepts 3,500 writes and 5,500 reads a second for each partition of a bucket, of which a new one
//! has one ("Best practices design patterns: optimizing Amazon S3 performance"). Beyond that it responds
//! with 503 until it has divided the partition. So all requests of a client for a bucket share one limit for
//! writes and one for reads, which holds in any second, not on average: a client that has been idle sends as
//! fast as it can until the second is full. This is the only limit of rates. The engine and the function limit
//! the requests in flight, for memory and for trouble of other kinds.
//!
//! An interval with a 503 lowers the limit by a tenth of the maximum, one without raises it by half of
//! that. Several processes share a bucket: halving would starve the one that S3 throttles first. Below the
//! maximum the requests are spread evenly over the second.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Maximum writes and reads in any second: 19 of 20 that S3 accepts, because others use the bucket too.
const MAX_PER_SECOND: [f64; 2] = [3_325.0, 5_225.0];
/// The lowest limit, and its changes after an interval with and without a 503, as shares of the maximum.
const MIN_SHARE: f64 = 0.05;
const DECREASE: f64 = 0.1;
const INCREASE: f64 = 0.05;
/// Responses within this time are one observation.
const INTERVAL: Duration = Duration::from_millis(500);
/// The time of a slot. Requests are counted by slots.
const SLOT: Duration = Duration::from_millis(10);
/// Slots in a second.
const SLOTS: u8 = 100;
/// Slots that a second overlaps.
const WINDOW: usize = 101;

/// The kind of a request, as S3 limits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// PUT and COPY.
    Write,
    /// GET and HEAD.
    Read,
}

/// The rates of a bucket.
#[derive(Debug)]
pub(super) struct Governor([Mutex<Rate>; 2]);

#[derive(Debug)]
struct Rate {
    /// Maximum requests in any second.
    max: f64,
    /// The current limit, as a share of the maximum.
    share: f64,
    /// The start of the first slot.
    start: Option<Instant>,
    /// The slot of the last request, from 0. A slot that has not begun belongs to requests that wait.
    slot: usize,
    /// The requests of the window that ends with `slot`: those of slot `n` at `n % WINDOW`.
    sent: [u32; WINDOW],
    /// Their sum.
    sent_in_window: u32,
    /// The start of the current interval.
    since: Option<Instant>,
    /// Whether S3 has throttled in the current interval.
    is_throttled: bool,
}

impl Governor {
    pub(super) fn new() -> Self {
        Self(MAX_PER_SECOND.map(|max| Mutex::new(Rate::new(max))))
    }

    /// Waits until a request may be sent.
    pub(super) async fn admit(&self, kind: Kind) {
        let now = Instant::now();
        let at = self.rate(kind).admit(now);
        if at > now {
            sleep_until(at).await;
        }
    }

    /// Records that S3 throttles.
    pub(super) fn throttled(&self, kind: Kind) {
        self.rate(kind).is_throttled = true;
    }

    fn rate(&self, kind: Kind) -> MutexGuard<'_, Rate> {
        self.0[kind as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rate {
    fn new(max: f64) -> Self {
        Self {
            max,
            share: 1.0,
            start: None,
            slot: 0,
            sent: [0; WINDOW],
            sent_in_window: 0,
            since: None,
            is_throttled: false,
        }
    }

    /// Returns the time at which a request may be sent.
    fn admit(&mut self, now: Instant) -> Instant {
        self.adapt(now);
        let start = *self.start.get_or_insert(now);
        let current = (now - start).as_nanos() / SLOT.as_nanos();
        self.move_to(usize::try_from(current).unwrap_or(usize::MAX));
        while self.is_full() {
            self.move_to(self.slot + 1);
        }
        self.sent[self.index()] += 1;
        self.sent_in_window += 1;
        let slots = u32::try_from(self.slot).unwrap_or(u32::MAX);
        now.max(start + SLOT.saturating_mul(slots))
    }

    /// Changes the limit at the end of an interval.
    fn adapt(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) >= INTERVAL {
            let change = if std::mem::take(&mut self.is_throttled) { -DECREASE } else { INCREASE };
            self.share = (self.share + change).clamp(MIN_SHARE, 1.0);
            self.since = Some(now);
        }
    }

    /// Moves the window until it ends with `slot` or a later one.
    fn move_to(&mut self, slot: usize) {
        if slot.saturating_sub(self.slot) >= WINDOW {
            (self.slot, self.sent, self.sent_in_window) = (slot, [0; WINDOW], 0);
        }
        while self.slot < slot {
            self.slot += 1;
            let index = self.index();
            self.sent_in_window -= std::mem::take(&mut self.sent[index]);
        }
    }

    fn is_full(&self) -> bool {
        let limit = self.max * self.share;
        let is_slot_full = || f64::from(self.sent[self.index()]) >= limit / f64::from(SLOTS);
        f64::from(self.sent_in_window) >= limit || (self.share < 1.0 && is_slot_full())
    }

    fn index(&self) -> usize {
        self.slot % WINDOW
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Governor, INTERVAL, Kind, MIN_SHARE, Rate};

    /// Sends a request every `pause` if the rate admits it, `count` in all. Returns the seconds at which they are sent.
    fn sent(rate: &mut Rate, pause: Duration, count: u32) -> Vec<f64> {
        let start = Instant::now();
        let admitted = |n| rate.admit(start + pause * n).duration_since(start).as_secs_f64();
        (0..count).map(admitted).collect()
    }

    #[test]
    fn the_limit_holds_in_any_second() {
        // All at once, faster than the limit, and slower: with pauses within a second.
        for (micros, count, at_least) in [(0, 3_500, 3.0), (700, 5_000, 4.7), (1_500, 3_000, 4.49)]
        {
            let sent = sent(&mut Rate::new(1_000.0), Duration::from_micros(micros), count);
            assert!(sent.is_sorted());
            let fastest =
                sent.windows(1_001).map(|window| window[1_000] - window[0]).fold(9.0, f64::min);
            assert!(fastest >= 1.0, "{micros}: 1,001 requests in {fastest} s");
            let last = sent.last().unwrap();
            assert!((at_least..at_least + 0.1).contains(last), "{micros}: {last} s");
        }
    }

    #[test]
    fn an_idle_client_sends_without_delay_until_the_second_is_full() {
        let (mut rate, start) = (Rate::new(1_000.0), Instant::now());
        for hours in 0..3 {
            let now = start + Duration::from_hours(hours);
            let at_once = (0..2_000).filter(|_| rate.admit(now) <= now).count();
            assert_eq!(at_once, 1_000);
        }
    }

    #[test]
    fn throttling_lowers_the_limit_of_its_kind_in_steps_and_it_recovers() {
        let governor = Governor::new();
        let mut now = Instant::now();
        let mut share = |responses_with_503: usize| {
            governor.rate(Kind::Write).admit(now);
            (0..responses_with_503).for_each(|_| governor.throttled(Kind::Write));
            now += INTERVAL;
            governor.rate(Kind::Write).admit(now);
            governor.rate(Kind::Write).share
        };
        let near = |a: f64, b: f64| (a - b).abs() < 0.001;
        assert!(near(share(0), 1.0));
        assert!(near(share(1), 0.9) && near(share(100), 0.8), "an interval is one observation");
        assert!(near(share(0), 0.85));
        for _ in 0..20 {
            share(1);
        }
        assert!(near(share(1), MIN_SHARE));
        assert!(near(governor.rate(Kind::Read).share, 1.0), "reads have another limit");
    }

    #[test]
    fn below_the_maximum_requests_are_spread_over_the_second() {
        let mut rate = Rate { share: 0.5, ..Rate::new(1_000.0) };
        let start = Instant::now();
        let times: Vec<_> = (0..500).map(|_| rate.admit(start) - start).collect();
        for (n, slot) in [(4, 0), (5, 10), (99, 190), (499, 990)] {
            assert_eq!(times[n], Duration::from_millis(slot), "request {n}");
        }
    }
}
