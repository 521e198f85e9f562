//! The lean S3 client does what the SDK does: one suite runs over both.

mod errors;
mod objects;
mod routes;
mod signature;
mod ways;
