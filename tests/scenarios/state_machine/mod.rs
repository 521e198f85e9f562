//! The row's state machine under random interleavings of two attempts, two cleanups, the API and an
//! operator. The statements are the product's own on a real PostgreSQL, and so is the response of
//! presign. The vault and the queue are models ([`model`]), and time passes only in a step.
//!
//! These invariants hold after every step ([`invariants`]):
//!
//! 1. A row changes only along the edges of the diagram, each by its own statement:
//!    `pending → processing → ready → expired`, `processing → failed`, `processing → pending`, the
//!    rescue of a request stuck for 6 h (`processing → failed`) or 7 days (`pending → failed`), the
//!    purge of a closed request, the erasure (any state `→ expired`), and, by an operator,
//!    `failed → pending`.
//! 2. The fencing token of a claim is greater than all earlier ones.
//! 3. Between two openings of a request at most one attempt sets `ready`, and only that attempt
//!    sends the ready e-mail, once.
//! 4. An attempt sets `failed` or `pending` only while the row holds its token.
//! 5. The result of a statement is true: `Done` only for the attempt's own change, `Closed` for a
//!    closed row, `Superseded` for an open row with another token. A cleanup counts its own changes
//!    only.
//! 6. A `ready` row has its object, of the size in the row, until `expires_at`.
//! 7. The object of an open row is deleted only if it is a leftover from before the request was
//!    opened: older than 12 h 15 min for an attempt, older than a day for a cleanup.
//! 8. An attempt that acknowledges its message leaves the row closed or deleted.
//! 9. No message is lost: an open request that was published has a message that will be received,
//!    unless one is in the dead-letter queue.
//! 10. Presign returns `ok` only to the artist of a `ready` row before `expires_at`, with a URL
//!     that expires no later.
//! 11. The columns match the state: `ready` has path, size and both times; `expired` has no path
//!     and no size; `failed` has a message; `processing` has neither message nor end.
//! 12. At most one failure e-mail is sent per opening, by the attempt that set `failed`.
//! 13. An attempt that stored a ZIP and acknowledges its message after an erasure leaves no ZIP.
//!
//! After the last fault every request ends closed: by its message if it has one, otherwise by the
//! hourly cleanup.

mod attempt;
mod cleanup;
mod coverage;
mod invariants;
mod model;
mod statements;
mod step;
mod world;

use bdr_tests::scenario_apart;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use tokio::runtime::Handle;

use coverage::Coverage;
use step::Step;
use world::World;

/// Number of random schedules.
const CASES: u32 = 400;

#[test]
fn no_interleaving_of_attempts_cleanups_and_presign_breaks_a_request() {
    scenario_apart(async |s| {
        let fixture = world::Fixture::new(s).await;
        let runtime = Handle::current();
        // The statements need this thread. The runner is not async and gets its own.
        let run = move || {
            // The seed is fixed, so that only a change of the product can break the test.
            let mut runner = TestRunner::new(Config {
                cases: CASES,
                rng_seed: RngSeed::Fixed(1),
                failure_persistence: None,
                max_shrink_iters: 5_000,
                ..Config::default()
            });
            let coverage = std::cell::RefCell::new(Coverage::default());
            for schedule in step::rare() {
                let played =
                    runtime.block_on(play(&fixture, &schedule, &mut coverage.borrow_mut()));
                played.unwrap_or_else(|error| panic!("{error:#}\nafter {schedule:#?}"));
            }
            let tried = runner.run(&step::schedules(), |schedule| {
                let played =
                    runtime.block_on(play(&fixture, &schedule, &mut coverage.borrow_mut()));
                played.map_err(|error| TestCaseError::fail(format!("{error:#}")))
            });
            match tried {
                Ok(()) => coverage.into_inner().report(CASES),
                Err(TestError::Fail(reason, schedule)) => {
                    let steps: Vec<_> = schedule.iter().map(|step| format!("{step:?}")).collect();
                    panic!("{reason}\nafter the steps\n    {}", steps.join(",\n    "))
                }
                Err(error) => panic!("{error}"),
            }
        };
        if let Err(error) = tokio::task::spawn_blocking(run).await {
            std::panic::resume_unwind(error.into_panic());
        }
    });
}

/// Plays a schedule on a new request, and then runs the request to its end.
async fn play(
    fixture: &world::Fixture,
    schedule: &[Step],
    coverage: &mut Coverage,
) -> anyhow::Result<()> {
    let mut world = World::new(fixture, coverage).await?;
    for step in schedule {
        world.apply(*step).await?;
    }
    world.finish_request().await
}
