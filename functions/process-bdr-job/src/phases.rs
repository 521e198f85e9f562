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
    /// The first beginning of each phase, and its last end.
    windows: [(Instant, Instant); 7],
    /// The time for which the vault was in trouble, within [`Phase::Fetch`] and [`Phase::Write`].
    pub(crate) vault_trouble: Duration,
}

impl Phases {
    /// Starts the clock, in [`Phase::Claim`].
    #[must_use]
    pub fn begin() -> Self {
        let now = Instant::now();
        let mut entered = [false; 7];
        entered[Phase::Claim as usize] = true;
        Self {
            begun: now,
            current: Phase::Claim,
            since: now,
            spent: [Duration::ZERO; 7],
            entered,
            windows: [(now, now); 7],
            vault_trouble: Duration::ZERO,
        }
    }

    /// Enters a phase and leaves the current one. Costs one look at the clock and a few writes to memory.
    pub fn enter(&mut self, phase: Phase) {
        self.enter_at(phase, Instant::now());
    }

    fn enter_at(&mut self, phase: Phase, now: Instant) {
        self.spent[self.current as usize] += now - self.since;
        self.windows[self.current as usize].1 = now;
        (self.current, self.since) = (phase, now);
        if !self.entered[phase as usize] {
            self.entered[phase as usize] = true;
            self.windows[phase as usize] = (now, now);
        }
    }

    /// Moves time from one phase to another, which was entered. That one then begins no later than the first:
    /// the time lies between the beginning and the end of the first.
    pub fn shift(&mut self, from: Phase, to: Phase, time: Duration) {
        let time = time.min(self.spent[from as usize]);
        self.spent[from as usize] -= time;
        self.spent[to as usize] += time;
        if !time.is_zero() {
            let begun = self.windows[from as usize].0;
            let window = &mut self.windows[to as usize];
            window.0 = window.0.min(begun);
        }
    }

    /// Stops the clock and returns the duration of the attempt.
    pub fn end(&mut self) -> Duration {
        self.enter(self.current);
        self.since - self.begun
    }

    /// Returns the beginning of the attempt, and its last change of phases.
    #[must_use]
    pub fn window(&self) -> (Instant, Instant) {
        (self.begun, self.since)
    }

    /// Returns the first beginning and the last end of `phase`, if the attempt has entered it.
    #[must_use]
    pub fn window_of(&self, phase: Phase) -> Option<(Instant, Instant)> {
        self.has_entered(phase).then_some(self.windows[phase as usize])
    }

    /// Returns whether the attempt has entered `phase`.
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

    use tokio::time::Instant;

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

    #[test]
    fn a_phase_lasts_from_its_first_beginning_to_its_last_end() {
        let mut phases = Phases::begin();
        let at = |phases: &Phases, ms| phases.begun + Duration::from_millis(ms);
        let entered = [
            (Phase::Fetch, 2),
            (Phase::Write, 5),
            (Phase::Fetch, 9),
            (Phase::Write, 14),
            (Phase::Upload, 20),
            (Phase::Finish, 30),
        ];
        for (phase, ms) in entered {
            phases.enter_at(phase, at(&phases, ms));
        }
        phases.enter_at(Phase::Finish, at(&phases, 31));
        let window = |phases: &Phases, phase| {
            let ms = |at: Instant| (at - phases.begun).as_millis();
            phases.window_of(phase).map(|(begun, ended)| (ms(begun), ms(ended)))
        };
        for (phase, expected) in [
            (Phase::Claim, Some((0, 2))),
            (Phase::Load, None),
            (Phase::Fetch, Some((2, 14))),
            (Phase::Write, Some((5, 20))),
            (Phase::Upload, Some((20, 30))),
            (Phase::Finish, Some((30, 31))),
        ] {
            assert_eq!(window(&phases, phase), expected, "{phase:?}");
        }
        phases.shift(Phase::Write, Phase::Upload, Duration::ZERO);
        assert_eq!(window(&phases, Phase::Upload), Some((20, 30)));
        phases.shift(Phase::Write, Phase::Upload, Duration::from_millis(3));
        assert_eq!(window(&phases, Phase::Upload), Some((5, 30)));
    }
}
