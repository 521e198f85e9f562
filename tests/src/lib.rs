//! What scenarios stand on: one local stack for all of them, and for each one an artist of its own,
//! clients, and the log of what ran in its process.
//!
//! A scenario either publishes to the deployed function ([`Scenario::publish`]), or runs the
//! function's own handler in this process ([`Worker`]), with a queue of its own, where it can hold
//! the clock still and look at every line of the log, or starts the release binary as a process
//! ([`lambda`]), which can be killed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "this is test code: a panic is how it says what is wrong"
)]

pub mod archive;
pub mod canary_ports;
pub mod doc_commands;
pub mod emf;
pub mod faults;
pub mod iam;
pub mod in_process;
pub mod lambda;
pub mod log;
pub mod privacy;
pub mod raw_server;
pub mod recorder;
pub mod scenario;
pub mod strict_s3;
pub mod template;
pub mod web;
pub mod wire;
pub mod worker;

pub use archive::ZipFile;
pub use scenario::{Artwork, Scenario, scenario, scenario_apart};
pub use worker::{Delivery, Worker};
