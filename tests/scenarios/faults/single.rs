//! Every fault at every call, one per request.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::Write as _;
use std::sync::Arc;

use bdr_tests::proxy::{Call, Fault, Script, Service, Target};
use bdr_tests::scenario;
use futures_util::{StreamExt as _, stream};

use super::tally::{Tally, TrialOutcome, fetches_artwork};
use super::trial::{Size, Stage, Trial};

/// Concurrent trials: most of them wait for a retry or for the lease of a dead worker.
pub(super) const AT_ONCE: usize = 12;

/// Faults that any call may have.
pub(super) const ANY_CALL: [Fault; 7] = [
    Fault::LostRequest,
    Fault::LostAnswer,
    Fault::TruncatedAnswer,
    Fault::Delay,
    Fault::Error,
    Fault::KillBefore,
    Fault::KillAfter,
];
/// Faults that only HTTP calls may have.
pub(super) const HTTP_CALLS: [Fault; 2] = [Fault::Throttling, Fault::Denial];

/// Returns the calls of a request without faults, in order, as targets.
pub(super) async fn targets(stage: &Stage) -> Vec<(Call, Target)> {
    let trial = stage.trial().await;
    let mut worker = trial.worker(Vec::new()).await;
    trial.queue.publish(trial.bdr_id).await.unwrap();
    let deliveries = worker.drain(&trial.queue).await.unwrap();
    assert_eq!((deliveries.received, deliveries.died), (1, 0));
    assert_eq!(trial.check().await.unwrap(), 0, "missing artworks");
    let mut counts: HashMap<String, usize> = HashMap::new();
    let calls = worker.script.calls().into_iter().map(|call| {
        let count = counts.entry(call.to_string()).or_default();
        *count += 1;
        let target = Target::Nth(call.service, call.operation.clone(), *count);
        (call, target)
    });
    // The number of lease renewals depends on the duration, so only the first one is a target.
    let renewal = |target: &Target| {
        matches!(target, Target::Nth(Service::Sqs, operation, 2..)
            if operation == "ChangeMessageVisibility")
    };
    calls.filter(|(_, target)| !renewal(target)).collect()
}

/// Runs a trial with the faults of this script.
pub(super) async fn run_trial(trial: Trial<'_>, script: Script) -> TrialOutcome {
    let mut worker = trial.worker_with(Arc::new(script)).await;
    let ended = async {
        trial.queue.publish(trial.bdr_id).await?;
        let deliveries = worker.drain(&trial.queue).await?;
        Ok((deliveries, trial.check().await?))
    };
    let ended = ended.await;
    let struck = worker.script.struck();
    let gets = worker.script.calls().iter().filter(|call| fetches_artwork(call)).count();
    TrialOutcome { user_sqid: trial.user_sqid, struck, gets, ended }
}

async fn every_fault_at_every_call(stage: &Stage) {
    let targets = targets(stage).await;
    let plans = targets.into_iter().flat_map(|(call, target)| {
        let of_http = HTTP_CALLS.iter().filter(move |_| call.service != Service::Postgres);
        ANY_CALL.iter().chain(of_http).map(move |fault| vec![(target.clone(), *fault)])
    });
    let outcomes = stream::iter(plans)
        .map(async |planned| run_trial(stage.trial().await, Script::new(planned)).await)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let tally = Tally::of(stage, outcomes).await;
    show(&tally);
    assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
}

/// Prints a tally. Not by `println!`: the test harness hides its output if the test passes.
pub(super) fn show(tally: &impl Display) {
    let text = format!("\n{tally}\n");
    std::io::stdout().write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_large_request_survives_every_fault_at_every_call() {
    scenario(async |s| {
        every_fault_at_every_call(&Stage::set(s, Size::Large).await).await;
    });
}

#[test]
fn a_small_request_survives_every_fault_at_every_call() {
    scenario(async |s| {
        every_fault_at_every_call(&Stage::set(s, Size::Small).await).await;
    });
}
