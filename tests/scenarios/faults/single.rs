//! Every fault at every call, one at a time.

use std::collections::HashMap;
use std::io::Write as _;

use bdr_tests::proxy::{Call, Fault, Service, Target};
use bdr_tests::scenario;
use futures_util::{StreamExt as _, stream};

use super::tally::{Report, Tally};
use super::trial::{Size, Stage, Trial};

/// Trials at the same time: most of them wait, for a retry or for the lease of a dead worker.
pub(super) const AT_ONCE: usize = 12;

/// What any call may suffer.
const OF_ALL: [Fault; 7] = [
    Fault::LostRequest,
    Fault::LostAnswer,
    Fault::TruncatedAnswer,
    Fault::Delay,
    Fault::Error,
    Fault::KillBefore,
    Fault::KillAfter,
];
/// What only HTTP knows.
const OF_HTTP: [Fault; 2] = [Fault::Throttling, Fault::Denial];

/// The calls of a request without faults, as targets, in their order.
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
    // Later renewals of the lease come by the clock: there may be none next time.
    let renewal = |target: &Target| {
        matches!(target, Target::Nth(Service::Sqs, operation, 2..)
            if operation == "ChangeMessageVisibility")
    };
    calls.filter(|(_, target)| !renewal(target)).collect()
}

/// Makes a trial of these faults.
pub(super) async fn attempt(trial: Trial<'_>, planned: Vec<(Target, Fault)>) -> Report {
    let mut worker = trial.worker(planned).await;
    let ended = async {
        trial.queue.publish(trial.bdr_id).await?;
        let deliveries = worker.drain(&trial.queue).await?;
        Ok((deliveries, trial.check().await?))
    };
    let ended = ended.await;
    let struck = worker.script.struck();
    Report { user_sqid: trial.user_sqid, struck, ended }
}

async fn every_fault_at_every_call(stage: &Stage) {
    let targets = targets(stage).await;
    let plans = targets.into_iter().flat_map(|(call, target)| {
        let of_http = OF_HTTP.iter().filter(move |_| call.service != Service::Postgres);
        OF_ALL.iter().chain(of_http).map(move |fault| vec![(target.clone(), *fault)])
    });
    let reports = stream::iter(plans)
        .map(async |planned| attempt(stage.trial().await, planned).await)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let tally = Tally::of(stage, reports).await;
    show(&tally);
    assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
}

/// Not by `println!`, which the test runner swallows when all is well.
pub(super) fn show(tally: &Tally) {
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
