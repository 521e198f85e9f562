//! The whole system on one machine, without Docker and without an AWS account: PostgreSQL, an AWS
//! stand-in ([MiniStack](https://github.com/ministackorg/ministack)), and in it the unchanged
//! `template.yaml` with the functions, in the profile of the deployed ones or in that of development.
//!
//! [`LocalStack::start`] starts it, [`seed`] inserts what the API would, [`artworks`] draws pixel
//! art for it, and [`remote`] stands for a third party's web server. `cargo demo` and `cargo local`
//! are two small programs on top (`src/main.rs`).
//!
//! This crate depends on the functions' contracts only: it publishes, reads rows, invokes and
//! downloads, as the API does. It does not use their code; the demo uses the operator's tool.
//!
//! All files are under `target/`, and nothing outlives the process, however the process ends: see
//! `src/supervisor.rs`.

mod aws;
mod deployment;
mod directory;
mod functions;
mod lambda;
mod options;
mod postgres;
mod prerequisites;
mod python_tools;
mod server;
mod stack;
mod supervisor;
mod waiting;
mod workspace;

pub mod artworks;
pub mod http;
pub mod remote;
pub mod seed;
pub mod site;

pub use aws::SentEmail;
pub use deployment::{EMAIL_FROM, STACK, deployable};
pub use options::{Options, Profile, Progress, Step};
pub use postgres::{Identity, InstalledPostgres, without_psql_commands};
pub use stack::LocalStack;
pub use waiting::wait_until;
pub use workspace::Workspace;
