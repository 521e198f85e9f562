//! What the schedules came to: a schedule in which nothing happens proves nothing.

use std::collections::BTreeMap;

/// What must have happened at least once.
const EXPECTED: [&str; 26] = [
    "claimed",
    "claimed from another attempt",
    "claim of a closed request",
    "claim of a purged request",
    "ready",
    "ready by an attempt that another had superseded",
    "ready, the answer lost and asked for again",
    "ready: closed by another",
    "released",
    "failed",
    "settle: superseded",
    "settle: closed by another",
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
    "purged",
    "presigned",
    "reopened",
];

/// How often what happened.
#[derive(Default)]
pub(super) struct Tally(BTreeMap<&'static str, u32>);

impl Tally {
    pub(super) fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    /// Prints the counts, and panics when something never happened.
    pub(super) fn report(&self, cases: u32) {
        println!("{cases} schedules: {:?}", self.0);
        let never: Vec<_> = EXPECTED.iter().filter(|what| !self.0.contains_key(*what)).collect();
        assert!(never.is_empty(), "no schedule came to: {never:?}");
    }
}
