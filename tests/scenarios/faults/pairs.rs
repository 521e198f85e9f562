//! Two faults in one request. This takes hours, so it runs only on demand:
//! `cargo test -p bdr-tests -- --ignored every_pair`.

use bdr_tests::proxy::{Fault, Script, Target};
use bdr_tests::scenario;
use futures_util::{StreamExt as _, stream};

use super::single::{AT_ONCE, run_trial, show, targets};
use super::tally::Tally;
use super::trial::{Size, Stage};

/// A call that is executed but seems to fail, a call that returns an error, and a call that ends
/// the worker.
const KINDS: [Fault; 3] = [Fault::LostAnswer, Fault::Error, Fault::KillAfter];

#[test]
#[ignore = "takes hours"]
fn a_request_survives_every_pair_of_faults() {
    scenario(async |s| {
        let stage = Stage::set(s, Size::Small).await;
        let targets = targets(&stage).await;
        let calls = targets.len();
        let plans = targets.into_iter().flat_map(|(_, target)| {
            // Up to the end of the attempt or, after a kill, far into the next attempt.
            let second = (1..=calls).flat_map(|n| KINDS.map(|kind| (n, kind)));
            second.flat_map(move |(n, kind)| {
                let target = target.clone();
                KINDS.map(move |first| vec![(target.clone(), first), (Target::After(n), kind)])
            })
        });
        let outcomes = stream::iter(plans)
            .map(async |planned| run_trial(stage.trial().await, Script::new(planned)).await)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let tally = Tally::of(&stage, outcomes).await;
        show(&tally);
        assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
    });
}
