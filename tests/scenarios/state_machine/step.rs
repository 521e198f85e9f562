//! The steps, and schedules of them.

use proptest::collection::vec as list;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;

/// Index of one of the two attempts, or of the two cleanups, that may run concurrently.
pub(super) type Slot = usize;

/// One step of a schedule. A step that is impossible, such as one of an attempt that is not
/// running, is skipped, so that proptest can shorten a schedule anywhere.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// The API publishes the request, possibly again.
    Publish,
    /// SQS delivers a message that an attempt is processing: its lease has ended, or SQS delivers
    /// it twice.
    Redeliver(Slot),
    /// An attempt takes its next step successfully. If none is running, SQS delivers a message to a
    /// new one.
    Attempt(Slot),
    /// The same, followed by all further steps of the attempt.
    FinishAttempt(Slot),
    /// An attempt's next step is executed, but its answer is lost, so the attempt will repeat it.
    LoseAnswer(Slot),
    /// An attempt fails, transiently or permanently.
    Fail(Slot, Decision),
    /// An attempt dies.
    Crash(Slot),
    /// A cleanup takes the first step of a task, or its next step.
    Cleanup(Slot, Task),
    /// A cleanup takes all its further steps.
    FinishCleanup(Slot),
    /// A cleanup dies.
    CrashCleanup(Slot),
    /// The API requests a URL, for the artist or for another user.
    Presign {
        /// Whether the URL is for the artist.
        owner: bool,
    },
    /// The API erases the request: the next step of the erasure, of which the first closes the row.
    Erase,
    /// An operator reopens a failed request and publishes it.
    Reopen,
    /// Time passes, in minutes.
    Pass(i64),
}

/// Whether a failure is transient.
pub(super) use shared::failure::Decision;

/// A task of the cleanup.
pub(super) use cleanup_expired_bdrs::task::Task;

/// Times, in minutes, that are shorter than an invocation may run.
const SHORT: [i64; 3] = [1, 3, 10];
/// Minutes until a ZIP expires.
const WEEK: i64 = 7 * 24 * 60 + 1;
/// Times, in minutes, shortly before or after a deadline of the product.
const LONG: [i64; 5] = [65, 6 * 60 + 5, 12 * 60 - 15, 25 * 60, WEEK];

/// Returns schedules of up to 80 steps, some of which start in a state that takes many steps to
/// reach.
pub(super) fn schedules() -> impl Strategy<Value = Vec<Step>> {
    use Step::{Attempt, Fail, FinishAttempt, Pass, Publish};
    let unpublished = vec![];
    let published = vec![Publish];
    let ready = vec![Publish, FinishAttempt(0)];
    let over = vec![Publish, FinishAttempt(0), Pass(WEEK)];
    let failed_with_a_zip = vec![
        Publish,
        Attempt(0),
        Attempt(0),
        Attempt(0),
        Fail(0, Decision::Fail),
        FinishAttempt(0),
    ];
    let beginning = prop_oneof![
        1 => Just(unpublished),
        6 => Just(published),
        1 => Just(ready),
        1 => Just(over),
        2 => Just(failed_with_a_zip),
    ];
    (beginning, list(steps(), 1..80)).prop_map(|(beginning, steps)| [beginning, steps].concat())
}

/// Returns schedules that are rarely generated. The first two have broken a request in the past.
pub(super) fn rare() -> [Vec<Step>; 4] {
    use Step::{
        Attempt, Cleanup, Crash, Erase, Fail, FinishAttempt, FinishCleanup, Pass, Publish,
        Redeliver, Reopen,
    };
    [
        // A cleanup is about to delete the ZIP of a failed request when an operator reopens the
        // request and an attempt sets it `ready` with a new ZIP.
        vec![
            Publish,
            Publish,
            Attempt(0),
            Attempt(0),
            Attempt(0),
            Fail(0, Decision::Fail),
            FinishAttempt(0),
            Pass(25 * 60),
            Cleanup(0, Task::Orphans),
            Cleanup(0, Task::Orphans),
            Reopen,
            FinishAttempt(0),
            Pass(10),
            FinishAttempt(0),
            Cleanup(0, Task::Orphans),
        ],
        // One attempt adopts a ZIP just before its age limit, the other finds it too old.
        vec![
            Publish,
            Attempt(0),
            Attempt(0),
            Attempt(0),
            Crash(0),
            Pass(708),
            Attempt(0),
            Attempt(0),
            Attempt(0),
            Redeliver(1),
            Attempt(1),
            Pass(13),
            Attempt(1),
            Attempt(1),
            Attempt(0),
            Attempt(0),
        ],
        // A request is erased while its attempt stores the ZIP, and again afterwards.
        vec![
            Publish,
            Attempt(0),
            Attempt(0),
            Erase,
            Erase,
            Attempt(0),
            FinishAttempt(0),
            Erase,
            Erase,
        ],
        // Two cleanups expire the same request.
        vec![
            Publish,
            FinishAttempt(0),
            Pass(WEEK),
            Cleanup(0, Task::Expire),
            Cleanup(1, Task::Expire),
            FinishCleanup(0),
            FinishCleanup(1),
        ],
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let slot = || 0..2_usize;
    let decision = select(vec![Decision::Retry, Decision::Retry, Decision::Fail]);
    let task = || select(Task::ALL.to_vec());
    prop_oneof![
        1 => Just(Step::Publish),
        30 => slot().prop_map(Step::Attempt),
        4 => slot().prop_map(Step::Redeliver),
        3 => slot().prop_map(Step::FinishAttempt),
        5 => slot().prop_map(Step::LoseAnswer),
        7 => (slot(), decision).prop_map(|(slot, decision)| Step::Fail(slot, decision)),
        4 => slot().prop_map(Step::Crash),
        10 => (slot(), task()).prop_map(|(slot, task)| Step::Cleanup(slot, task)),
        4 => slot().prop_map(Step::FinishCleanup),
        1 => slot().prop_map(Step::CrashCleanup),
        3 => any::<bool>().prop_map(|owner| Step::Presign { owner }),
        5 => Just(Step::Reopen),
        1 => Just(Step::Erase),
        7 => select(SHORT.to_vec()).prop_map(Step::Pass),
        6 => select(LONG.to_vec()).prop_map(Step::Pass),
    ]
}
