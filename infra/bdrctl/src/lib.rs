//! The operator's tool: submits, watches, retries and redrives batch download requests, and checks
//! their deployment.
//!
//! [`Operator`] performs each action, `commands/` has a file per command, and `doctor/` checks the
//! deployment. The outputs of the CloudFormation stack ([`StackOutputs`]) name the resources; the
//! AWS SDK's settings give region, credentials and endpoints, so the tool works on AWS and on the
//! local stack. It depends on the functions by their contracts alone, and shares with them the code
//! for rows, keys and TLS.

mod advised;
pub mod arguments;
mod commands;
mod config;
mod doctor;
mod error_kind;
mod export;
mod function_log;
mod operator;
mod output;
mod samconfig;
mod stack_outputs;

pub use commands::watch::watch;
pub use commands::{run, usage};
pub use export::Progress;
pub use operator::{Connection, Operator};
pub use shared::queue::Publication;
pub use stack_outputs::StackOutputs;
