//! The row's state machine under any interleaving of two attempts, two cleanups, the API and an
//! operator. The statements are the real ones on a real PostgreSQL, and so is presign's answer; the
//! vault and the queue are models ([`model`]), and time passes when a step says so.
//!
//! After every step these hold ([`invariants`]):
//!
//! 1. A row changes along the edges of the diagram only, each by the statement it belongs to:
//!    `pending → processing → ready → expired`, `processing → failed`, `processing → pending`, a
//!    rescue of what stood still for 6 h (`processing → failed`) or 7 days (`pending → failed`), a
//!    purge of what is closed, and, by an operator, `failed → pending`.
//! 2. The token of a claim is greater than all before it.
//! 3. Of all the attempts between two openings of a request one turns it `ready`, and only that one
//!    tells the artist, once.
//! 4. An attempt sets `failed` or `pending` only while the row holds its token.
//! 5. What an attempt is answered is true: `Done` of its own change only, `Closed` of a closed row,
//!    `Superseded` of an open one that somebody else holds. A cleanup counts its own changes only.
//! 6. A `ready` row has its object, of the size it tells, until `expires_at`.
//! 7. Nobody deletes the object of an open row, but a leftover from before it was opened: an attempt
//!    one of 12 h 15 min, a cleanup one of a day.
//! 8. An attempt that acknowledges its message leaves the row closed or gone.
//! 9. No message is lost: an open request that was published has a message that will be received,
//!    unless one went to the dead-letter queue.
//! 10. Presign says `ok` to the artist of a `ready` row before `expires_at`, to nobody else, and for
//!     no longer.
//! 11. Columns fit the state: `ready` has path, size and both times; `expired` has no path and no
//!     size; `failed` has a message; `processing` has neither message nor end.
//! 12. The artist is told of a failure at most once an opening, by the attempt that set it.
//!
//! And in the end, once faults stop, every request is closed: by its message if there is one, else
//! by the hourly cleanup.

mod attempt;
mod cleanup;
mod invariants;
mod model;
mod statements;
mod step;
mod tally;
mod world;

use bdr_tests::scenario_apart;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use tokio::runtime::Handle;

use step::Step;
use tally::Tally;
use world::World;

/// Schedules tried.
const CASES: u32 = 400;

#[test]
fn no_interleaving_of_attempts_cleanups_and_presign_breaks_a_request() {
    scenario_apart(async |s| {
        let place = world::Place::new(s);
        let runtime = Handle::current();
        // The statements need this thread; the runner, which is not async, gets one of its own.
        let run = move || {
            // Always the same schedules: a change that breaks one is what breaks the test.
            let mut runner = TestRunner::new(Config {
                cases: CASES,
                rng_seed: RngSeed::Fixed(1),
                failure_persistence: None,
                max_shrink_iters: 5_000,
                ..Config::default()
            });
            let tally = std::cell::RefCell::new(Tally::default());
            for schedule in step::rare() {
                let played = runtime.block_on(play(&place, &schedule, &mut tally.borrow_mut()));
                played.unwrap_or_else(|error| panic!("{error:#}\nafter {schedule:#?}"));
            }
            let tried = runner.run(&step::schedules(), |schedule| {
                let played = runtime.block_on(play(&place, &schedule, &mut tally.borrow_mut()));
                played.map_err(|error| TestCaseError::fail(format!("{error:#}")))
            });
            match tried {
                Ok(()) => tally.into_inner().report(CASES),
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

/// Plays a schedule on a new request, and lets the request come to its end.
async fn play(place: &world::Place, schedule: &[Step], tally: &mut Tally) -> anyhow::Result<()> {
    let mut world = World::new(place, tally).await?;
    for step in schedule {
        world.apply(*step).await?;
    }
    world.come_to_an_end().await
}
