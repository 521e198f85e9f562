//! Scenarios against the local stack, one folder per subject.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "this is test code: a panic reports what is wrong"
)]

mod adapters;
mod bdrctl;
mod cleanup;
mod deploy;
mod docs;
mod faults;
mod presign;
mod process;
mod s3;
mod state_machine;
