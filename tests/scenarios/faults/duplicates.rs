//! Two workers process one request: a message delivered twice, a request published twice, a stale
//! worker that finishes late.

use std::time::Duration;

use bdr_tests::lambda::{Deliveries, Ending, InFlight};
use bdr_tests::proxy::{Fault, Script, Service, Target};
use bdr_tests::scenario;
use futures_util::{StreamExt as _, stream};
use tokio::join;

use super::single::{AT_ONCE, targets};
use super::trial::{Size, Stage, Trial, TrialWorker};

/// Checks that exactly one of the workers completed the request.
async fn check_done_once(trial: &Trial<'_>, workers: &[&TrialWorker<'_>]) {
    let results: Vec<_> = workers.iter().map(|worker| worker.results()).collect();
    assert_eq!(trial.check().await.unwrap_or_else(|error| panic!("{results:?}: {error:#}")), 0);
    assert_eq!(trial.emails().await, 1, "{results:?}: e-mails");
    assert_eq!(trial.open_uploads().await, 0, "{results:?}: open uploads");
    let ready = results.iter().flatten().filter(|result| *result == "ready");
    assert_eq!(ready.count(), 1, "{results:?}");
    for worker in workers {
        worker.check_log().unwrap();
    }
}

/// Holds one worker's call until another worker has finished the request.
async fn finish_late(trial: &Trial<'_>, target: Target) {
    let mut stale = trial.worker(vec![(target.clone(), Fault::Hold)]).await;
    let mut other = trial.worker(Vec::new()).await;
    trial.queue.publish(trial.bdr_id).await.unwrap();
    let script = std::sync::Arc::clone(&stale.script);
    let (ending, row) = join!(stale.deliver(&trial.queue), async {
        script.wait_for_hold().await;
        trial.queue.publish(trial.bdr_id).await.unwrap();
        let ending = other.deliver(&trial.queue).await;
        assert!(matches!(ending, Ending::Answered(_)), "{ending:?}");
        let row = trial.stage.s.row(trial.bdr_id).await;
        assert_eq!(row["status"], "ready", "{target:?}");
        script.let_go();
        row
    });
    assert!(matches!(ending, Ending::Answered(_)), "{ending:?}");
    other.drain(&trial.queue).await.unwrap();
    assert_eq!(
        trial.stage.s.row(trial.bdr_id).await,
        row,
        "{target:?}: changed after it was ready"
    );
    check_done_once(trial, &[&stale, &other]).await;
}

async fn a_stale_worker_finishes_late(stage: &Stage) {
    let targets = targets(stage).await;
    stream::iter(targets)
        .map(async |(_, target)| finish_late(&stage.trial().await, target).await)
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
}

#[test]
fn a_stale_worker_that_finishes_late_changes_nothing() {
    scenario(async |s| a_stale_worker_finishes_late(&Stage::set(s, Size::Small).await).await);
}

#[test]
fn a_stale_worker_with_a_multipart_upload_changes_nothing() {
    scenario(async |s| a_stale_worker_finishes_late(&Stage::set(s, Size::Large).await).await);
}

#[test]
fn a_message_delivered_to_two_workers_is_processed_once() {
    scenario(async |s| {
        let stage = Stage::set(s, Size::Large).await;
        for _ in 0..4 {
            let trial = stage.trial().await;
            let (mut one, mut two) =
                (trial.worker(Vec::new()).await, trial.worker(Vec::new()).await);
            let message = trial.queue.deliver(trial.bdr_id).await.unwrap();
            join!(one.process(&trial.queue, &message), two.process(&trial.queue, &message));
            one.drain(&trial.queue).await.unwrap();
            check_done_once(&trial, &[&one, &two]).await;
        }
    });
}

#[test]
fn a_worker_slower_than_its_lease_keeps_its_message() {
    scenario(async |s| {
        let stage = Stage::set(s, Size::Small).await;
        let trial = stage.trial().await;
        let put = Target::Nth(Service::S3, "PutObject".to_owned(), 1);
        let mut worker = trial.worker(vec![(put, Fault::Hold)]).await;
        trial.queue.publish(trial.bdr_id).await.unwrap();
        let script = worker.script.clone();
        let (_, taken) = join!(worker.deliver(&trial.queue), async {
            script.wait_for_hold().await;
            // Four times the lease.
            let taken = trial.queue.receive(Duration::from_secs(4)).await.unwrap();
            script.let_go();
            taken
        });
        assert!(taken.is_none(), "the message was received again: {taken:?}");
        worker.drain(&trial.queue).await.unwrap();
        check_done_once(&trial, &[&worker]).await;
    });
}

#[test]
fn a_failed_superseded_attempt_does_not_acknowledge_the_message() {
    scenario(async |s| {
        let stage = Stage::set(s, Size::Small).await;
        let trial = stage.trial().await;
        let put = || Target::Nth(Service::S3, "PutObject".to_owned(), 1);
        let get = Target::Nth(Service::Web, "GET".to_owned(), 1);
        let mut superseded = trial.worker(vec![(get, Fault::Hold), (put(), Fault::Denial)]).await;
        let mut newer = trial.worker(vec![(put(), Fault::Hold)]).await;
        let (held, hanging) = (superseded.script.clone(), newer.script.clone());
        let message = trial.queue.deliver(trial.bdr_id).await.unwrap();
        tokio::select! {
            ending = process_after_hold(&held, &mut newer, &trial, &message) => {
                panic!("the newer attempt has ended: {ending:?}")
            }
            () = async {
                let release = async {
                    hanging.wait_for_hold().await;
                    held.let_go();
                };
                join!(superseded.process(&trial.queue, &message), release);
            } => {}
        }
        assert_eq!(superseded.results(), ["superseded"]);
        assert_eq!(trial.stage.s.row(trial.bdr_id).await["status"], "processing");
        assert_eq!(trial.queue.len().await.unwrap(), 1, "the message was acknowledged");

        // The newer attempt dies. Only the message can complete the request now.
        newer.source.kill();
        let mut last = trial.worker(Vec::new()).await;
        last.drain(&trial.queue).await.unwrap();
        check_done_once(&trial, &[&superseded, &newer, &last]).await;
    });
}

/// Processes the message again once the first attempt is held.
async fn process_after_hold(
    held: &Script,
    newer: &mut TrialWorker<'_>,
    trial: &Trial<'_>,
    message: &InFlight,
) -> Ending {
    held.wait_for_hold().await;
    newer.process(&trial.queue, message).await
}

#[test]
fn a_message_that_kills_every_worker_becomes_a_dead_letter() {
    scenario(async |s| {
        let stage = Stage::set(s, Size::Small).await;
        let trial = stage.trial().await;
        let poison = || (Target::Containing(trial.key()), Fault::KillBefore);
        let mut worker = trial.worker((0..4).map(|_| poison()).collect()).await;
        let neighbour = trial.neighbour().await;
        for bdr_id in [trial.bdr_id, neighbour] {
            trial.queue.publish(bdr_id).await.unwrap();
        }
        let deliveries = worker.drain(&trial.queue).await.unwrap();
        assert_eq!(deliveries, Deliveries { received: 5, died: 4 });
        assert_eq!(trial.queue.dead_letters().await.unwrap(), 1);
        assert_eq!(trial.stage.s.row(trial.bdr_id).await["status"], "processing");
        assert_eq!(trial.stage.s.row(neighbour).await["status"], "ready");
    });
}
