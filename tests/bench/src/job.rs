//! The job of a peer.

use std::{env, fs};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// A job, written by the benchmark and read by a peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The URL of the S3 server. `SSL_CERT_FILE` names the file with its root certificate.
    pub endpoint: String,
    /// The bucket of the artworks and of the ZIP.
    pub bucket: String,
    /// The artworks, in the order of the ZIP.
    pub entries: Vec<Entry>,
    /// The key of the ZIP.
    pub zip: String,
    /// GETs in flight.
    pub concurrency: usize,
    /// Whether the floor uploads after the last GET, instead of beside them.
    pub uploads_last: bool,
}

/// An artwork and its entry in the ZIP.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// The key in the bucket.
    pub key: String,
    /// The name in the ZIP.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
}

impl Job {
    /// Reads the job from the file that is the first argument of the program.
    ///
    /// # Errors
    /// When there is no such file, or the file does not contain a job.
    pub fn from_args() -> Result<Self> {
        let path = env::args_os().nth(1).context("usage: PROGRAM JOB_FILE")?;
        serde_json::from_slice(&fs::read(&path)?).context("failed to parse the job")
    }

    /// Returns the size of all artworks together, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }
}
