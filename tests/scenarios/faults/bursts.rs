//! Bursts of faults in requests of 300 artworks. `docs/operations.md` prints the command that shows the
//! tallies.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use bdr_tests::proxy::{Burst, Call, Fault, Script, Service, Target};
use bdr_tests::{Scenario, scenario};
use futures_util::{StreamExt as _, stream};

use super::burst_tally::BurstTally;
use super::single::{ANY_CALL, HTTP_CALLS, run_trial, show, targets};
use super::tally::fetches_artwork;
use super::trial::{MANY, Size, Stage};

/// Duration of a burst of one fault.
const BURST: Duration = Duration::from_secs(2);
/// Duration of a burst of mixed faults.
const MIXTURE: Duration = Duration::from_secs(10);
/// `RETRY_BASE_SECONDS` for each of them. Half of it is the time that a web host gets to recover: with the
/// default of 60 s it outlasts both. With 0, as in the other scenarios, the four attempts would fail within
/// one burst.
const RETRY_BASES: (u32, u32) = (4, 8);
/// Share of the calls that fail in a burst of mixed faults.
const FAILING: f64 = 0.3;
/// Seeds of the mixtures.
const SEEDS: [u64; 6] = [1, 2, 3, 4, 5, 6];
/// Concurrent trials: most of them wait for the end of their burst.
const AT_ONCE: usize = 16;

/// The services that fail in a burst.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failing {
    /// The one whose call begins it.
    One,
    /// All.
    All,
}

/// Returns the faults without those that kill the worker: it would die once, not for 2 s.
fn faults() -> impl Iterator<Item = Fault> + Clone {
    let lasting = |fault: &Fault| ![Fault::KillBefore, Fault::KillAfter].contains(fault);
    ANY_CALL.into_iter().filter(lasting).chain(HTTP_CALLS)
}

/// Returns whether a burst may begin at this call. The GETs of 300 artworks are one kind of call, and what
/// differs is how many artworks are open, read and written by then: nothing (the first), few, many, or all
/// but the last, after which only the end of the archive follows. At every other call a burst begins each
/// time that it is made.
fn is_beginning(call: &Call, target: &Target) -> bool {
    match target {
        Target::Nth(Service::S3, _, n) if fetches_artwork(call) => {
            [1, 2, 10, 100, MANY].contains(n)
        }
        _ => true,
    }
}

/// Returns the fault that strikes this call: PostgreSQL has no throttling and no denial.
fn applicable(fault: Fault, call: &Call) -> Option<Fault> {
    (call.service != Service::Postgres || !HTTP_CALLS.contains(&fault)).then_some(fault)
}

/// Runs a burst of every fault from every beginning, one per request.
async fn every_burst(s: Scenario, failing: Failing) {
    let stage = &Stage::set(s, Size::Many).await.with_retry_base(RETRY_BASES.0);
    let targets = targets(stage).await;
    let beginnings = targets.into_iter().filter(|(call, target)| is_beginning(call, target));
    let bursts = beginnings.flat_map(|(call, begin)| {
        let faults = faults().filter(move |fault| match failing {
            Failing::One => applicable(*fault, &call).is_some(),
            Failing::All => true,
        });
        faults.map(move |fault| (begin.clone(), fault))
    });
    let trials = bursts.map(async |(begin, fault)| {
        let beginning = format!("{begin:?}");
        let Target::Nth(service, ..) = begin else { panic!("{beginning}") };
        let choose = move |call: &Call| match failing {
            Failing::One if call.service != service => None,
            _ => applicable(fault, call),
        };
        let burst = Burst { begin, duration: BURST, choose: Box::new(choose) };
        let outcome = run_trial(stage.trial().await, Script::with_burst(burst)).await;
        (format!("{fault:?}"), beginning, outcome)
    });
    let outcomes = stream::iter(trials).buffer_unordered(AT_ONCE).collect().await;
    check(&BurstTally::of(stage, outcomes).await);
}

/// Returns 10 s in which 30 % of all calls fail, by faults drawn at random. The n-th call of an operation
/// has the same fault in every run. No artwork is denied: it would be missing for good, which the bursts of
/// one fault cover.
fn mixture(begin: Target, seed: u64) -> Burst {
    let mut random = HashMap::new();
    let choose = move |call: &Call| {
        let possible: Vec<_> = faults()
            .filter_map(|fault| applicable(fault, call))
            .filter(|fault| *fault != Fault::Denial || !fetches_artwork(call))
            .collect();
        let of_operation = |operation: &String| {
            let mut hasher = DefaultHasher::new();
            (seed, operation).hash(&mut hasher);
            fastrand::Rng::with_seed(hasher.finish())
        };
        let random = random.entry(call.to_string()).or_insert_with_key(of_operation);
        (random.f64() < FAILING).then(|| possible[random.usize(..possible.len())])
    };
    Burst { begin, duration: MIXTURE, choose: Box::new(choose) }
}

fn check(tally: &BurstTally) {
    show(tally);
    assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
}

#[test]
fn a_request_survives_bursts_of_every_fault_of_one_service() {
    scenario(async |s| every_burst(s, Failing::One).await);
}

#[test]
fn a_request_survives_bursts_of_every_fault_of_all_services() {
    scenario(async |s| every_burst(s, Failing::All).await);
}

#[test]
fn a_request_survives_mixtures_of_faults() {
    scenario(async |s| {
        let stage = Stage::set(s, Size::Many).await.with_retry_base(RETRY_BASES.1);
        // Most attempts that fail from the first call on do not claim the request.
        let beginnings = [Target::After(1), Target::Nth(Service::S3, "GetObject".to_owned(), 1)];
        let bursts =
            SEEDS.into_iter().flat_map(|seed| beginnings.clone().map(|begin| (seed, begin)));
        let trials = bursts.map(async |(seed, begin)| {
            let beginning = format!("{begin:?}");
            let script = Script::with_burst(mixture(begin, seed));
            let outcome = run_trial(stage.trial().await, script).await;
            (format!("seed {seed}"), beginning, outcome)
        });
        let outcomes = stream::iter(trials).buffer_unordered(AT_ONCE).collect().await;
        check(&BurstTally::of(&stage, outcomes).await);
    });
}
