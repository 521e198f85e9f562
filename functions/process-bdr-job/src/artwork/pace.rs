//! The pace of requests to the vault: how many wait for the head of their response at once, by additive
//! increase and multiplicative decrease (AIMD, as TCP does), and a common pause after trouble.
//!
//! S3 responds to overload with 503, or too late ("Best practices design patterns: optimizing Amazon
//! S3 performance"). Failures of requests that ran together are one observation: the limit is halved
//! once for all of them, and the pause grows once. An outage therefore costs the running requests and a
//! few probes, not one retry per artwork and backoff step.
//!
//! Trouble may also break bodies off. A request after a broken body has succeeded when its own body was
//! read whole; the head of its response proves nothing. Other requests have succeeded with the head,
//! because their bodies are read in order and may have to wait for an earlier artwork in trouble.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::attempt::jittered;

/// The pause after the first failed generation of requests; doubled after each further one.
const PAUSE: Duration = Duration::from_millis(100);
/// Maximum pause.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The pace of one fetch's requests to the vault. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Pace(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    max_limit: f64,
}

struct State {
    running: u32,
    limit: f64,
    /// Generation of requests that start now. Failures of earlier generations have been counted.
    generation: u64,
    /// Failed generations since the last success.
    failures: u32,
    resume_at: Option<Instant>,
    trouble_since: Option<Instant>,
    trouble: Duration,
}

/// A permit for one request, held until the head of its response. Dropping it without a result only lowers
/// the count of running requests.
#[must_use]
pub(super) struct Permit {
    pace: Pace,
    generation: u64,
}

/// A response whose head has arrived. Dropping it without a result changes nothing.
#[must_use]
pub(super) struct Response {
    pace: Pace,
    generation: u64,
}

impl Pace {
    /// Returns a pace that starts at `max_limit` requests at once.
    pub(super) fn new(max_limit: u32) -> Self {
        let limit = f64::from(max_limit);
        let state = State {
            running: 0,
            limit,
            generation: 0,
            failures: 0,
            resume_at: None,
            trouble_since: None,
            trouble: Duration::ZERO,
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            changed: Notify::new(),
            max_limit: limit,
        }))
    }

    /// Waits until one more request may run.
    pub(super) async fn permit(&self) -> Permit {
        loop {
            // Before the check, so that no change in between is missed.
            let changed = self.0.changed.notified();
            let admission = self.state().admit(Instant::now());
            let resume_at = match admission {
                Admission::Granted(generation) => {
                    return Permit { pace: self.clone(), generation };
                }
                Admission::Paused(resume_at) => resume_at,
                Admission::Full => {
                    changed.await;
                    continue;
                }
            };
            tokio::select! {
                () = sleep_until(resume_at) => {}
                () = changed => {}
            }
        }
    }

    /// Returns the time for which the vault was in trouble: from each first failure to the next
    /// success.
    pub(super) fn trouble(&self) -> Duration {
        let state = self.state();
        state.trouble + state.trouble_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn succeeded(&self, generation: u64) {
        self.state().succeed(generation, Instant::now(), self.0.max_limit);
        // Wakes a waiter, because the limit may have grown and the pause may have ended.
        self.0.changed.notify_one();
    }

    fn failed(&self, generation: u64) {
        self.state().fail(generation, Instant::now(), jittered);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Admission {
    Granted(u64),
    Paused(Instant),
    Full,
}

impl State {
    fn admit(&mut self, now: Instant) -> Admission {
        if let Some(resume_at) = self.resume_at.filter(|at| *at > now) {
            return Admission::Paused(resume_at);
        }
        // One request may always run: it is the probe after an outage.
        if self.running > 0 && f64::from(self.running + 1) > self.limit {
            return Admission::Full;
        }
        self.running += 1;
        Admission::Granted(self.generation)
    }

    fn succeed(&mut self, generation: u64, now: Instant, max_limit: f64) {
        // A request that began before the last failure says nothing about the time after it.
        if generation < self.generation {
            return;
        }
        self.limit = (self.limit + 1.0 / self.limit.max(1.0)).min(max_limit);
        self.failures = 0;
        self.resume_at = None;
        if let Some(since) = self.trouble_since.take() {
            self.trouble += now - since;
        }
    }

    fn fail(&mut self, generation: u64, now: Instant, jitter: impl Fn(Duration) -> Duration) {
        self.trouble_since.get_or_insert(now);
        if generation < self.generation {
            return;
        }
        self.generation += 1;
        self.limit = (self.limit / 2.0).max(1.0);
        let pause = PAUSE.saturating_mul(2_u32.saturating_pow(self.failures)).min(MAX_PAUSE);
        self.failures += 1;
        self.resume_at = Some(now + jitter(pause));
    }
}

impl Permit {
    /// Reports that S3 responded, with the object or with an error that concerns it alone.
    pub(super) fn succeeded(self) {
        self.pace.succeeded(self.generation);
    }

    /// Ends the wait for the head of the response, and reports nothing yet.
    pub(super) fn opened(self) -> Response {
        Response { pace: self.pace.clone(), generation: self.generation }
    }

    /// Reports that S3 is in trouble: it throttled, failed or did not respond.
    pub(super) fn failed(self) {
        self.pace.failed(self.generation);
    }
}

impl Response {
    /// Reports that S3 responded.
    pub(super) fn succeeded(&self) {
        self.pace.succeeded(self.generation);
    }

    /// Reports that the body broke off or stalled.
    pub(super) fn failed(&self) {
        self.pace.failed(self.generation);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pace.state().running -= 1;
        self.pace.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::time::Instant;

    use super::{Admission, Pace, Permit, State};

    fn all(pace: &Pace) -> Vec<Permit> {
        std::iter::from_fn(|| pace.permit().now_or_never()).collect()
    }

    fn state(pace: &Pace) -> std::sync::MutexGuard<'_, State> {
        pace.state()
    }

    #[test]
    fn failures_that_ran_together_halve_the_limit_once() {
        let pace = Pace::new(128);
        let permits = all(&pace);
        assert_eq!(permits.len(), 128);
        for permit in permits {
            permit.failed();
        }
        assert!((state(&pace).limit - 64.0).abs() < f64::EPSILON);
        assert_eq!(state(&pace).failures, 1);
    }

    #[test]
    fn broken_bodies_slow_the_pace() {
        let pace = Pace::new(128);
        for failures in 1..=3 {
            state(&pace).resume_at = None;
            let responses: Vec<_> = all(&pace).into_iter().map(Permit::opened).collect();
            assert_eq!(responses.len(), 128 >> (failures - 1));
            responses.iter().for_each(super::Response::failed);
            assert_eq!(state(&pace).failures, failures);
        }
        state(&pace).resume_at = None;
        pace.permit().now_or_never().unwrap().opened().succeeded();
        assert_eq!(state(&pace).failures, 0);
    }

    #[test]
    fn an_outage_leaves_one_probe_and_longer_pauses() {
        let pace = Pace::new(128);
        let now = Instant::now();
        for generation in 0..12 {
            state(&pace).fail(generation, now, |pause| pause);
        }
        let mut state = state(&pace);
        assert!((state.limit - 1.0).abs() < f64::EPSILON);
        assert_eq!(state.resume_at, Some(now + Duration::from_secs(5)), "the pause is capped");
        assert!(matches!(state.admit(now), Admission::Paused(_)));
        let later = now + Duration::from_secs(5);
        assert!(matches!(state.admit(later), Admission::Granted(12)));
        assert!(matches!(state.admit(later), Admission::Full));
    }

    #[test]
    fn each_round_of_successes_adds_one() {
        let pace = Pace::new(128);
        let now = Instant::now();
        for generation in 0..12 {
            state(&pace).fail(generation, now, |pause| pause);
        }
        let mut successes = 0;
        while state(&pace).limit < 10.0 {
            state(&pace).succeed(12, now, 128.0);
            successes += 1;
        }
        assert!((45..=60).contains(&successes), "1 + 2 + … + 9 = 45: {successes}");
        assert!(state(&pace).resume_at.is_none());
    }

    #[test]
    fn trouble_lasts_from_the_first_failure_to_the_next_success() {
        let pace = Pace::new(2);
        let now = Instant::now();
        state(&pace).fail(0, now, |pause| pause);
        state(&pace).fail(0, now + Duration::from_secs(1), |pause| pause);
        state(&pace).succeed(0, now + Duration::from_secs(2), 2.0);
        state(&pace).succeed(1, now + Duration::from_secs(3), 2.0);
        assert_eq!(pace.trouble(), Duration::from_secs(3));
    }
}
