//! Proxies between a function and every service that it calls: [`HttpProxy`] for S3, SQS, SES, Secrets
//! Manager and a web host, [`DatabaseWire`] for PostgreSQL.
//!
//! Both record each call by service and operation in a [`Script`], inject the faults that the script
//! plans, one at a time or in a burst, and can silence their connections. A fault targets the n-th call of an operation rather than
//! the n-th call of all, because concurrent calls arrive in any order.

mod call;
mod connection;
mod http;
mod postgres;
mod refusal;
mod script;

pub use call::{Call, IF_MATCH, Service, TRAILER};
pub use http::{Exchange, Files, HttpProxy};
pub use postgres::DatabaseWire;
pub use script::{Burst, Choose, Fault, Script, Target};
