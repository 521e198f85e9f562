//! The code that the functions share: the request's row and its states, the vault and its keys, the
//! queue and its messages, failures that carry a decision, configuration, logs, metrics and traces.
//!
//! Functions depend on this crate; this crate depends on no function.

pub mod aws;
pub mod clock;
pub mod config;
pub mod database;
pub mod executions;
pub mod failure;
pub mod lambda;
pub mod message;
pub mod metrics;
pub mod queue;
pub mod request;
pub mod sqid;
pub mod telemetry;
pub mod trace;
pub mod vault;
