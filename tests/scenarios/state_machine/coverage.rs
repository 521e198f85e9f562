//! Counts of the events in all schedules: schedules without an event would not test it.

use std::collections::BTreeMap;

/// Events that must occur at least once.
const EXPECTED: [&str; 29] = [
    "claimed",
    "claimed from another attempt",
    "claim of a closed request",
    "claim of a purged request",
    "ready",
    "ready by an attempt that another had superseded",
    "ready, repeated after a lost answer",
    "ready: closed by another",
    "released",
    "failed",
    "release or failure: superseded",
    "release or failure: closed by another",
    "object created",
    "object adopted",
    "leftover deleted",
    "ready e-mail",
    "failure e-mail",
    "dead letter",
    "expired",
    "rescued",
    "given up after a week",
    "republished",
    "orphan deleted",
    "object discarded",
    "erased",
    "object erased",
    "purged",
    "presigned",
    "reopened",
];

/// Number of occurrences by event.
#[derive(Default)]
pub(super) struct Coverage(BTreeMap<&'static str, u32>);

impl Coverage {
    pub(super) fn count(&mut self, event: &'static str) {
        *self.0.entry(event).or_default() += 1;
    }

    /// Prints the counts, and panics if an expected event never occurred.
    pub(super) fn report(&self, cases: u32) {
        println!("{cases} schedules: {:?}", self.0);
        let never: Vec<_> = EXPECTED.iter().filter(|event| !self.0.contains_key(*event)).collect();
        assert!(never.is_empty(), "no schedule covers {never:?}");
    }
}
