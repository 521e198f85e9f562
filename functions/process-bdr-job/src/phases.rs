//! Where the time of an attempt goes. An attempt is in one phase at a time, so the phases add up to
//! its duration; what other tasks do meanwhile (artworks being fetched while the ZIP is written) is
//! not counted twice, but shows as the wait of the writer that is shorter.

use std::time::Duration;

use tokio::time::Instant;

/// A phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// From the receive until the row is claimed; the connection to the database is made in it.
    Claim,
    /// The queries for artist, posts, comments and reactions; after a first receive also the look for
    /// a ZIP of an earlier attempt.
    Load,
    /// The writer waits for the next artwork.
    Fetch,
    /// The writer packs artworks, and makes and packs the JSON files.
    Write,
    /// The writer waits until S3 has taken a part; then the last parts and the completion, or the
    /// abort.
    Upload,
    /// The row is marked, or released; leftover uploads are aborted; the message is given back.
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

    /// As the metric's dimension says it.
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
}

impl Phases {
    /// An attempt begins.
    #[must_use]
    pub fn begin() -> Self {
        let now = Instant::now();
        Self { begun: now, current: Phase::Claim, since: now, spent: [Duration::ZERO; 7] }
    }

    /// Another phase begins. Costs a look at the clock.
    pub fn enter(&mut self, phase: Phase) {
        self.enter_at(phase, Instant::now());
    }

    fn enter_at(&mut self, phase: Phase, now: Instant) {
        self.spent[self.current as usize] += now - self.since;
        (self.current, self.since) = (phase, now);
    }

    /// A part of the time of one phase has been that of another.
    pub fn shift(&mut self, from: Phase, to: Phase, time: Duration) {
        let time = time.min(self.spent[from as usize]);
        self.spent[from as usize] -= time;
        self.spent[to as usize] += time;
    }

    /// The attempt ends: the time from its beginning.
    pub fn end(&mut self) -> Duration {
        self.enter(self.current);
        self.since - self.begun
    }

    /// The time spent in a phase, until the last change of phases.
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
