//! What the benchmark's programs share.

pub mod artwork;
pub mod manifest;
pub mod rounds;
