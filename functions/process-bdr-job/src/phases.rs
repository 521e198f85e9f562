//! The time an attempt spends in each phase. An attempt is in one phase at a time, so the phases add
//! up to its duration. Work of other tasks, such as artworks that arrive while the archive is written,
//! is not counted twice: it shortens the writer's wait.

use std::time::Duration;

use tokio::time::Instant;

/// A phase of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// From the receive to the claim of the row, the connection to the database included.
    Claim,
    /// The queries for artist, posts and reactions; from the second receive on also the search for an archive of an earlier attempt.
    Load,
    /// The writer waits for the next artwork.
    Fetch,
    /// The writer packs artworks and JSON documents, and streams the comments.
    Write,
    /// The writer waits for S3 to accept a part; at the end the last parts, and the completion or
    /// the abort.
    Upload,
    /// The change of the row, the abort of leftover uploads, the change of the message's visibility.
    Finish,
    /// The e-mail.
    Notify,
}

impl Phase {
    /// All phases, in the order of an attempt.
    pub const ALL: [Self; 7] = [
        Self::Claim,
        Self::Load,
        Self::Fetch,
        Self::Write,
        Self::Upload,
        Self::Finish,
        Self::Notify,
    ];

    /// Returns the value of the metric dimension `phase`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Load => "load",
            Self::Fetch => "fetch",
            Self::Write => "write",
            Self::Upload => "upload",
            Self::Finish => "finish",
            Self::Notify => "notify",
        }
    }
}

/// The time spent in each phase.
#[derive(Debug)]
pub struct Phases {
    begun: Instant,
    current: Phase,
    since: Instant,
    spent: [Duration; 7],
    entered: [bool; 7],
    /// The time for which the vault was in trouble, within [`Phase::Fetch`] and [`Phase::Write`].
    pub(crate) vault_trouble: Duration,
}

impl Phases {
    /// Starts the clock, in [`Phase::Claim`].
    #[must_use]
    pub fn begin() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            current: Phase::Claim,
            since: now,
            spent: [Duration::ZERO; 7],
            entered: [false; 7],
            vault_trouble: Duration::ZERO,
        }
    }

    /// Enters a phase and leaves the current one. Costs one look at the clock.
    pub fn enter(&mut self, phase: Phase) {
        self.enter_at(phase, Instant::now());
    }

    fn enter_at(&mut self, phase: Phase, now: Instant) {
        self.spent[self.current as usize] += now - self.since;
        (self.current, self.since) = (phase, now);
        self.entered[phase as usize] = true;
    }

    /// Moves time from one phase to another.
    pub fn shift(&mut self, from: Phase, to: Phase, time: Duration) {
        let time = time.min(self.spent[from as usize]);
        self.spent[from as usize] -= time;
        self.spent[to as usize] += time;
    }

    /// Stops the clock and returns the duration of the attempt.
    pub fn end(&mut self) -> Duration {
        self.enter(self.current);
        self.since - self.begun
    }

    /// Returns whether the attempt has entered `phase` by [`Phases::enter`].
    #[must_use]
    pub fn has_entered(&self, phase: Phase) -> bool {
        self.entered[phase as usize]
    }

    /// Returns the time spent in `phase` until the last change of phases.
    #[must_use]
    pub fn spent(&self, phase: Phase) -> Duration {
        self.spent[phase as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Phase, Phases};

    #[test]
    fn phases_add_up_to_the_duration() {
        let mut phases = Phases::begin();
        let at = |phases: &Phases, ms| phases.begun + Duration::from_millis(ms);
        for (phase, ms) in
            [(Phase::Write, 2), (Phase::Fetch, 9), (Phase::Write, 18), (Phase::Finish, 30)]
        {
            phases.enter_at(phase, at(&phases, ms));
        }
        phases.shift(Phase::Write, Phase::Upload, Duration::from_millis(4));
        let spent = |phase| phases.spent(phase).as_millis();
        assert_eq!((spent(Phase::Claim), spent(Phase::Fetch)), (2, 9));
        assert_eq!((spent(Phase::Write), spent(Phase::Upload)), (15, 4));
        let sum: Duration = Phase::ALL.iter().map(|phase| phases.spent(*phase)).sum();
        assert_eq!(sum, Duration::from_millis(30));
    }
}
