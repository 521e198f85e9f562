//! Two faults in one request. Takes long, and so runs at night: `cargo test -p bdr-tests -- --ignored every_pair`.

use bdr_tests::proxy::{Fault, Target};
use bdr_tests::scenario;
use futures_util::{StreamExt as _, stream};

use super::single::{AT_ONCE, attempt, show, targets};
use super::tally::Tally;
use super::trial::{Size, Stage};

/// One that the service knows of and the worker does not, one that both know of, one that ends the
/// worker.
const KINDS: [Fault; 3] = [Fault::LostAnswer, Fault::Error, Fault::KillAfter];

#[test]
#[ignore = "takes long; for the night"]
fn a_request_survives_every_pair_of_faults() {
    scenario(async |s| {
        let stage = Stage::set(s, Size::Small).await;
        let targets = targets(&stage).await;
        let calls = targets.len();
        let plans = targets.into_iter().flat_map(|(_, target)| {
            // As far as the end, and, after a kill, far into the next attempt.
            let second = (1..=calls).flat_map(|n| KINDS.map(|kind| (n, kind)));
            second.flat_map(move |(n, kind)| {
                let target = target.clone();
                KINDS.map(move |first| vec![(target.clone(), first), (Target::After(n), kind)])
            })
        });
        let reports = stream::iter(plans)
            .map(async |planned| attempt(stage.trial().await, planned).await)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let tally = Tally::of(&stage, reports).await;
        show(&tally);
        assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
    });
}
