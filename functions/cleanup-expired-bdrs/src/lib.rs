//! `cleanup-expired-bdrs`: what was promised for seven days ends after seven days.
//!
//! A run does, in this order ([`cleanup`]), each a file under [`tasks`]:
//!
//! 1. *expire*: ZIPs whose time is over are deleted, then their rows become `expired`;
//! 2. *rescue*: rows stuck in `processing` for over 6 h become `failed`;
//! 3. *republish*: rows `pending` for over an hour get their message again;
//! 4. *orphans*: ZIPs of rows that are `failed` or `expired` are deleted;
//! 5. *purge*: rows closed for long enough are deleted, if the operator wants that.
//!
//! Everything goes by bounded pages, object first and row second, so that a run may be killed at
//! any point and the next one ends in the same state; two runs at once share the work. Errors of
//! single items are reported ([`report`]); a failure of the run is an error of the invocation, so
//! that it is repeated and alarmed.

pub mod cleanup;
pub mod config;
pub mod context;
pub mod event;
pub mod handler;
pub mod report;
pub mod tasks;
pub mod wiring;
