//! PostgreSQL stands still for longer than every time limit of a statement, under many requests.

use std::sync::Arc;
use std::time::Duration;

use bdr_tests::proxy::{Burst, Fault, Script, Service, Target};
use bdr_tests::scenario;
use futures_util::future::join_all;
use local_stack::wait_until;

use super::trial::{Size, Stage};

/// Longer than the limits of a statement and its retry together: 3 s, 10 s for the connection, and 20 s.
const STANDSTILL: Duration = Duration::from_secs(45);
/// `RETRY_BASE_SECONDS`: the third receive, 20 s to 60 s after the first one, outlasts the standstill.
const RETRY_BASE: u32 = 8;
/// Requests that are processed when the standstill begins.
const BEFORE: usize = 12;
/// Requests whose first statement meets the standstill.
const WITHIN: usize = 11;

#[test]
fn a_standstill_of_postgresql_loses_and_repeats_no_email() {
    scenario(async |s| {
        let stage = Stage::set(s, Size::Small).await.with_retry_base(RETRY_BASE);
        let ready = "UPDATE ready".to_owned();
        let script = Arc::new(Script::with_burst(Burst {
            // Three requests are ready by then.
            begin: Target::Nth(Service::Postgres, ready.clone(), 4),
            duration: STANDSTILL,
            choose: Box::new(|call| {
                (call.service == Service::Postgres).then_some(Fault::Standstill)
            }),
        }));
        let has_begun = async || {
            let begun = async || Ok((!script.struck().is_empty()).then_some(()));
            wait_until("the standstill", Duration::from_secs(90), begun).await.unwrap();
        };
        let requests = (0..BEFORE + WITHIN).map(async |number| {
            let trial = stage.trial().await;
            if number >= BEFORE {
                has_begun().await;
            }
            let mut worker = trial.worker_with(Arc::clone(&script)).await;
            trial.queue.publish(trial.bdr_id).await.unwrap();
            worker.drain(&trial.queue).await.unwrap();
            assert_eq!(trial.check().await.unwrap(), 0, "missing artworks");
            (trial.emails().await, trial.open_uploads().await, worker.results())
        });
        let ended = join_all(requests).await;
        for (emails, open_uploads, results) in &ended {
            assert_eq!((emails, open_uploads), (&1, &0), "{results:?}");
        }
        let struck = script.struck();
        let held = struck.iter().filter(|(_, call)| call.operation == ready).count();
        assert!(held > 1, "updates to ready were held: {held}");
        assert!(struck.iter().any(|(_, call)| call.operation == "connect"), "{struck:?}");
    });
}
