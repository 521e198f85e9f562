//! What the functions share: the request's row and its states, the vault and its keys, the queue
//! message, failures that carry a decision, configuration and telemetry.
//!
//! Nothing here knows a function; functions depend on this crate and never on one another.

pub mod aws;
pub mod clock;
pub mod config;
pub mod database;
pub mod failure;
pub mod lambda;
pub mod message;
pub mod metrics;
pub mod queue;
pub mod request;
pub mod sqid;
pub mod telemetry;
pub mod vault;
