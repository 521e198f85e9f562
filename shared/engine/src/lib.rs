#![doc = include_str!("../README.md")]
//!
//! # Modules
//!
//! [`plan`] divides an archive into parts; it needs no S3. [`archive()`] carries a plan out against a
//! [`store`], which is S3 or a test's memory. [`zip`] writes headers, and whole archives into any sink.
//! [`s3`] is a lean client for the requests that are sent once per object or part.

mod execute;
pub mod plan;
mod report;
pub mod s3;
pub mod store;
pub mod zip;

pub use execute::{Destination, Entry, Error, Object, Source, archive};
pub use report::{Report, Requests};
