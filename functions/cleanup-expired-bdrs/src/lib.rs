//! `cleanup-expired-bdrs`: deletes archives after their seven days and recovers stuck requests.
//!
//! A run ([`cleanup`]) does these tasks in this order. Each has a file under [`tasks`]:
//!
//! 1. *expire* deletes the ZIPs of expired requests, then marks the rows `expired`;
//! 2. *rescue* marks rows `failed` that have been `processing` for over 6 h;
//! 3. *republish* publishes rows again that have been `pending` for over an hour, with growing pauses
//!    unless the event asks for this task alone, and marks rows `failed` that have been `pending` for
//!    over 7 days;
//! 4. *orphans* deletes the ZIPs of rows that are `failed` or `expired`;
//! 5. *purge* deletes rows that were closed long ago, if `PURGE_AFTER_DAYS` is set.
//!
//! An event may also ask for an erasure ([`erase`]), which deletes what the vault has of one request
//! or of one user.
//!
//! Tasks work in bounded pages, object first and row second. So a run can be killed at any point
//! and the next one reaches the same state, and two concurrent runs share the work. The answer
//! ([`summary`]) lists errors of single requests. A failure of the run is an error of the
//! invocation, so that Lambda retries it and the alarms see it.

pub mod cleanup;
pub mod config;
pub mod context;
pub mod erase;
pub mod erasure;
mod event;
pub mod handler;
mod outcome;
mod run_report;
pub mod summary;
pub mod task;
pub mod tasks;
pub mod wiring;
