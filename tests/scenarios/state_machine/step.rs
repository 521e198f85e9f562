//! What may happen next, and schedules of it.

use proptest::collection::vec as list;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;

/// One of the two attempts, or of the two cleanups, that may run at once.
pub(super) type Who = usize;

/// One step of a schedule. One that cannot be taken, such as a step of an attempt that is not
/// running, is passed over, so that a schedule can be shortened anywhere.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// The API publishes the request, perhaps once more.
    Publish,
    /// SQS delivers a message that an attempt is working on: a lapsed lease, or its own doing.
    Redeliver(Who),
    /// An attempt does its next step, which goes well. Where there is none, SQS delivers a message
    /// to one.
    Attempt(Who),
    /// The same, and then all its next steps.
    FinishAttempt(Who),
    /// An attempt's next step is carried out, but the answer does not arrive; it will try again.
    LoseAnswer(Who),
    /// An attempt fails: it may go better next time, or it never will.
    Fail(Who, Decision),
    /// An attempt dies.
    Crash(Who),
    /// A cleanup does the first step of a task, or its next one.
    Cleanup(Who, Task),
    /// A cleanup does all its next steps.
    FinishCleanup(Who),
    /// A cleanup dies.
    CrashCleanup(Who),
    /// The API asks for a URL: for the artist, or for somebody else.
    Presign {
        /// Whether the artist asks.
        owner: bool,
    },
    /// An operator opens a failed request again, and publishes it.
    Reopen,
    /// Time passes, in minutes.
    Pass(i64),
}

/// Whether a failure may pass.
pub(super) use shared::failure::Decision;

/// A task of the cleanup.
pub(super) use cleanup_expired_bdrs::task::Task;

/// Minutes that an invocation can outlive.
const SHORT: [i64; 3] = [1, 3, 10];
/// Minutes until a ZIP expires.
const WEEK: i64 = 7 * 24 * 60 + 1;
/// Minutes to a time at which something becomes due, and a little less or more.
const LONG: [i64; 5] = [65, 6 * 60 + 5, 12 * 60 - 15, 25 * 60, WEEK];

/// Schedules of up to 80 steps, from one of the states that take many steps to come to.
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

/// Schedules that chance seldom comes to. The first two have broken a request once.
pub(super) fn rare() -> [Vec<Step>; 3] {
    use Step::{
        Attempt, Cleanup, Crash, Fail, FinishAttempt, FinishCleanup, Pass, Publish, Redeliver,
        Reopen,
    };
    [
        // A cleanup is about to delete the ZIP of a failed request, which an operator opens again
        // and an attempt makes `ready` with a new ZIP.
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
        // One attempt adopts a ZIP that is about to be too old, the other finds that it is.
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
    let who = || 0..2_usize;
    let decision = select(vec![Decision::Retry, Decision::Retry, Decision::Fail]);
    let task = || select(Task::ALL.to_vec());
    prop_oneof![
        1 => Just(Step::Publish),
        30 => who().prop_map(Step::Attempt),
        4 => who().prop_map(Step::Redeliver),
        3 => who().prop_map(Step::FinishAttempt),
        5 => who().prop_map(Step::LoseAnswer),
        7 => (who(), decision).prop_map(|(who, decision)| Step::Fail(who, decision)),
        4 => who().prop_map(Step::Crash),
        10 => (who(), task()).prop_map(|(who, task)| Step::Cleanup(who, task)),
        4 => who().prop_map(Step::FinishCleanup),
        1 => who().prop_map(Step::CrashCleanup),
        3 => any::<bool>().prop_map(|owner| Step::Presign { owner }),
        5 => Just(Step::Reopen),
        7 => select(SHORT.to_vec()).prop_map(Step::Pass),
        6 => select(LONG.to_vec()).prop_map(Step::Pass),
    ]
}
