//! The vault: one S3 bucket with everybody's artworks and, under `bdr/`, the ZIPs.

mod archives;
mod error;
mod key;
mod object;
mod read;
mod upload;

use std::sync::Arc;

pub use archives::{ListedArchive, MOST_DELETED_AT_ONCE, NotDeleted};
pub use error::VaultError;
pub use key::{ArchiveKey, ArtworkKey, BadArtworkKey};
pub use object::ArchiveObject;
pub use read::OpenArtwork;
pub use upload::{Finished, PART_BUFFERS, Upload, part_size};

/// The vault's bucket. Cloning is cheap.
#[derive(Clone)]
pub struct Vault {
    client: aws_sdk_s3::Client,
    bucket: Arc<str>,
}

impl Vault {
    /// The vault in `bucket`.
    #[must_use]
    pub fn new(client: aws_sdk_s3::Client, bucket: &str) -> Self {
        Self { client, bucket: bucket.into() }
    }
}
