//! The whole system on one machine, without Docker and without an AWS account: PostgreSQL, an AWS
//! stand-in ([MiniStack](https://github.com/ministackorg/ministack)), and in it the unchanged
//! `template.yaml` with the release binaries of the functions.
//!
//! [`LocalStack::start`] brings it up, [`seed`] puts in what the API would, [`artworks`] draws
//! pixel art to put in, and [`remote`] plays somebody else's web server. `cargo demo` and
//! `cargo local` are two small programs on top of that (`src/main.rs`).
//!
//! This crate knows the functions only by their contracts: it publishes, reads rows, invokes, and
//! downloads, as the API does. It uses none of their code; the demo steers by the operator's tool.
//!
//! Everything it needs is kept under `target/`, and nothing outlives the process, however that
//! ends: `src/supervisor.rs` says how.

mod aws;
mod deployment;
mod directory;
mod functions;
mod lambda;
mod lifecycle;
mod options;
mod postgres;
mod prerequisites;
mod python_tools;
mod stack;
mod supervisor;
mod waiting;
mod workspace;

pub mod artworks;
pub mod http;
pub mod remote;
pub mod seed;

pub use aws::SentEmail;
pub use deployment::STACK;
pub use options::{Options, Progress, Step};
pub use postgres::installed::{Identity, InstalledPostgres};
pub use stack::{EMAIL_FROM, LocalStack};
pub use waiting::wait_until;
pub use workspace::Workspace;
