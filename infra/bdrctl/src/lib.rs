//! The operator's tool: submits, follows, retries and redrives batch download requests, and checks
//! that a deployment is what it should be.
//!
//! [`Operator`] is what acts; a file a command says what of, and `doctor/` looks at the deployment.
//! Where everything is comes from the outputs of the CloudFormation stack ([`Place`]), region,
//! credentials and endpoints are the AWS SDK's own, and so it works on the local stack as on AWS.
//! It knows the functions by their contracts, and shares with them what makes rows, keys and TLS.

pub mod arguments;
mod commands;
mod config;
mod doctor;
mod operator;
mod output;
mod place;

pub use commands::run;
pub use commands::watch::watch;
pub use operator::{Connection, Operator};
pub use place::Place;
