//! What a peer is to put into a ZIP.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// A job, as the benchmark writes it down for its peers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The bucket of the artworks and of the ZIP.
    pub bucket: String,
    /// The artworks, in order.
    pub entries: Vec<Entry>,
    /// The ZIP's key.
    pub zip: String,
}

/// An artwork.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its key in the bucket.
    pub key: String,
    /// Its name in the ZIP.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}

impl Manifest {
    /// Reads it from a file.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no manifest", path.display()))
    }

    /// All artworks together, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }
}
