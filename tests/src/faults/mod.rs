//! Faults between a worker and everything it calls: one proxy in front of HTTP ([`HttpProxy`]: S3,
//! SQS, SES and a web host), one in front of PostgreSQL ([`PostgresProxy`]), and the script that
//! both obey ([`Script`]).
//!
//! The proxies record every call by its service and operation. A fault is aimed at the n-th call of
//! an operation, and not at the n-th call of all: calls made at the same time come in any order.

mod answers;
mod http;
mod operation;
mod postgres;
mod script;

pub use http::HttpProxy;
pub use postgres::PostgresProxy;
pub use script::{Call, Fault, Script, Service, Target};
