//! The harness of the scenarios. One local stack (PostgreSQL, an AWS stand-in, the deployed template)
//! serves all scenarios of a process. [`scenario()`] gives each of them an artist, clients and a log of
//! its own, and [`scenario_apart`] also a database and a vault.
//!
//! A scenario runs a function in one of three ways. [`Scenario::publish`] sends a request to the
//! deployed function. [`in_process`] calls a handler directly, where a test can stop the clock and read
//! every log line. [`lambda`] starts the release binary, which a test can kill.
//!
//! [`proxy`] records the calls of a function and injects faults. [`web`] and [`raw_server`] are hosts of
//! artworks, [`collector`] receives traces, and [`virtual_s3`] is a vault for archives of any size. The other
//! modules read what the functions produce and what the documents contain.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "this is test code: a panic reports a failure"
)]

pub mod archive;
pub mod browser;
pub mod collector;
pub mod doc_commands;
pub mod emf;
pub mod in_process;
pub mod lambda;
pub mod log;
pub mod privacy;
pub mod proxy;
pub mod raw_server;
pub mod scenario;
pub mod template;
pub mod virtual_s3;
pub mod web;

pub use archive::ZipFile;
pub use in_process::{Delivery, Worker};
pub use scenario::{Artwork, Scenario, scenario, scenario_apart};
