//! The contract between the benchmark and the programs in `peers/`: artworks, jobs and results.

pub mod artwork;
pub mod job;
pub mod round;
pub mod traffic;
