//! The patience with one web host: how many requests run at once, when they pause, and when the host is
//! given up.
//!
//! Time decides, not a count of failures: requests that fail together count once. A host in trouble gets
//! one probe at a time, with growing pauses. It is given up when a request fails that began after its
//! recovery time, or when its `Retry-After` ends after the deadline of remote artworks.

use std::time::Duration;

use tokio::time::Instant;

use crate::attempt::jittered;

/// Requests at a time to a host that has responded.
const MAX_RUNNING_PER_HOST: u32 = 8;
/// Requests at a time to a host that has not responded yet: four silent hosts must not hold all requests.
const MAX_RUNNING_UNKNOWN: u32 = 4;
/// The pause after the first failure; doubled after each further one.
const PAUSE: Duration = Duration::from_millis(500);
/// Maximum pause that a host does not ask for.
const MAX_PAUSE: Duration = Duration::from_secs(8);

/// The state of one host. Each batch download request starts with a new one, because a host may have
/// recovered.
#[derive(Debug, Default)]
pub(crate) struct Host {
    running: u32,
    trouble: Option<Trouble>,
    resume_at: Option<Instant>,
    is_given_up: bool,
    has_responded: bool,
}

/// The trouble of a host, from its first failure until its next success.
#[derive(Debug)]
struct Trouble {
    since: Instant,
    /// Requests that began before this are part of the last observation.
    observed_at: Instant,
    observations: u32,
}

impl Host {
    /// Returns whether a request may start now.
    pub(crate) fn is_available(&self, now: Instant) -> bool {
        let max_running = match self.trouble {
            Some(_) => 1,
            None if self.has_responded => MAX_RUNNING_PER_HOST,
            None => MAX_RUNNING_UNKNOWN,
        };
        !self.is_given_up
            && self.running < max_running
            && self.resume_at.is_none_or(|resume_at| resume_at <= now)
    }

    /// Returns the end of the current pause, if a request could start then.
    pub(crate) fn resumes_at(&self) -> Option<Instant> {
        self.resume_at.filter(|_| !self.is_given_up)
    }

    /// Returns whether the host is given up.
    pub(crate) fn is_given_up(&self) -> bool {
        self.is_given_up
    }

    /// Returns the number of running requests.
    pub(crate) fn running(&self) -> u32 {
        self.running
    }

    /// Records the start of a request.
    pub(crate) fn start(&mut self) {
        self.running += 1;
    }

    /// Records a request that the host served, with the file or with an error that concerns one artwork.
    /// A request that began before the last failure does not end the trouble.
    pub(crate) fn succeed(&mut self, started: Instant) {
        self.running -= 1;
        self.has_responded = true;
        let is_outdated =
            self.trouble.as_ref().is_some_and(|trouble| started < trouble.observed_at);
        if !self.is_given_up && !is_outdated {
            self.trouble = None;
            self.resume_at = None;
        }
    }

    /// Records a request that the host did not serve: unreachable, silent, overloaded or rate-limiting.
    /// `retry_after` is the host's `Retry-After`; if it ends at or after `stop_at`, the host is given up.
    pub(crate) fn fail(
        &mut self,
        started: Instant,
        retry_after: Option<Duration>,
        recovery: Duration,
        stop_at: Instant,
    ) {
        self.fail_at(Instant::now(), started, retry_after, recovery, stop_at);
    }

    fn fail_at(
        &mut self,
        now: Instant,
        started: Instant,
        retry_after: Option<Duration>,
        recovery: Duration,
        stop_at: Instant,
    ) {
        self.running -= 1;
        if let Some(delay) = retry_after {
            let resume_at = now + delay;
            self.resume_at = self.resume_at.max(Some(resume_at));
            self.is_given_up |= resume_at >= stop_at;
        }
        let trouble = self.trouble.get_or_insert(Trouble {
            since: now,
            observed_at: started,
            observations: 0,
        });
        if started < trouble.observed_at {
            return;
        }
        self.is_given_up |= started >= trouble.since + recovery;
        let pause = PAUSE.saturating_mul(2_u32.saturating_pow(trouble.observations)).min(MAX_PAUSE);
        trouble.observations += 1;
        trouble.observed_at = now;
        self.resume_at = self.resume_at.max(Some(now + jittered(pause)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Host;

    const RECOVERY: Duration = Duration::from_secs(30);

    /// A host, a clock of the test's own, and a time far away at which remote artworks end.
    struct Trial {
        host: Host,
        begin: Instant,
    }

    impl Trial {
        fn new() -> Self {
            Self { host: Host::default(), begin: Instant::now() }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.begin + Duration::from_secs(seconds)
        }

        fn fail(&mut self, started: u64, now: u64, retry_after: Option<u64>) {
            self.host.start();
            let retry_after = retry_after.map(Duration::from_secs);
            let (started, now, stop_at) = (self.at(started), self.at(now), self.at(700));
            self.host.fail_at(now, started, retry_after, RECOVERY, stop_at);
        }
    }

    #[test]
    fn failures_that_fell_together_are_one_observation() {
        let mut trial = Trial::new();
        for _ in 0..8 {
            trial.fail(0, 15, None);
        }
        assert!(!trial.host.is_given_up());
        assert_eq!(trial.host.trouble.as_ref().unwrap().observations, 1);
        assert!(!trial.host.is_available(trial.at(15)));
        assert!(trial.host.is_available(trial.at(16)));
    }

    #[test]
    fn in_trouble_one_probe_runs_at_a_time() {
        let mut trial = Trial::new();
        trial.fail(0, 1, None);
        trial.host.start();
        assert!(!trial.host.is_available(trial.at(100)));
        trial.host.succeed(trial.at(2));
        for _ in 0..8 {
            assert!(trial.host.is_available(trial.at(100)));
            trial.host.start();
        }
        assert!(!trial.host.is_available(trial.at(100)));
    }

    #[test]
    fn a_host_is_given_up_by_a_probe_after_its_recovery_time() {
        let mut trial = Trial::new();
        trial.fail(0, 1, None);
        trial.fail(2, 3, None);
        trial.fail(30, 31, None);
        assert!(!trial.host.is_given_up());
        trial.fail(32, 33, None);
        assert!(trial.host.is_given_up());
        assert!(!trial.host.is_available(trial.at(600)));
    }

    #[test]
    fn a_success_restores_the_patience() {
        let mut trial = Trial::new();
        trial.fail(0, 1, None);
        trial.host.start();
        trial.host.succeed(trial.at(2));
        trial.fail(40, 41, None);
        assert!(!trial.host.is_given_up());
    }

    #[test]
    fn a_success_from_before_the_failure_keeps_the_pause() {
        let mut trial = Trial::new();
        trial.host.start();
        trial.fail(0, 2, Some(20));
        trial.host.succeed(trial.at(1));
        assert!(!trial.host.is_available(trial.at(20)));
        assert!(trial.host.is_available(trial.at(22)));
    }

    #[test]
    fn retry_after_pauses_the_host_or_gives_it_up() {
        let mut trial = Trial::new();
        trial.fail(0, 1, Some(20));
        assert!(!trial.host.is_available(trial.at(20)));
        assert!(trial.host.is_available(trial.at(21)));
        trial.fail(21, 22, Some(3600));
        assert!(trial.host.is_given_up());
    }
}
