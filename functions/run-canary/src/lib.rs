//! `run-canary`: repeats one request every hour, and reports whether its archive became ready.
//!
//! A run ([`canary`]) does not wait. It checks what became of the run before: the row must be `ready`, and the
//! vault must have the ZIP of that size, whole and without a missing artwork ([`zip`]). Then it deletes
//! the ZIP, reopens the row and publishes the request, for the next run to check.
//!
//! The operator made the request on the site, with an account of its own. The function therefore
//! inserts no row, and needs no privilege in the database beyond those of the other functions.

pub mod canary;
pub mod config;
pub mod handler;
pub mod wiring;
mod zip;
