//! The vault: one S3 bucket with everybody's artworks and, under `bdr/`, the ZIPs.

mod archives;
mod buffers;
mod error;
mod key;
mod object;
mod read;
mod upload;

use std::sync::{Arc, OnceLock};

use aws_sdk_s3::config::retry::RetryConfig;

use buffers::Buffers;

pub use archives::{ListedArchive, MAX_DELETED_PER_CALL, NotDeleted};
pub use error::VaultError;
pub use key::{ArchiveKey, ArtworkKey, BadArtworkKey};
pub use object::ArchiveObject;
pub use read::OpenArtwork;
pub use upload::{Finished, PART_BUFFERS, Upload, part_size};

/// The vault's bucket. Cloning is cheap.
#[derive(Clone)]
pub struct Vault {
    client: aws_sdk_s3::Client,
    /// The same client without the SDK's retries: artworks are requested at a pace of the caller's, which
    /// has to see every response.
    reads: Arc<OnceLock<aws_sdk_s3::Client>>,
    bucket: Arc<str>,
    /// For the files of large artworks.
    artworks: Buffers,
}

/// Buffers for artworks that are kept while they are not in use, at most, and the largest that is, in
/// bytes. What they hold together is part of the function's memory.
const ARTWORK_BUFFERS: usize = 2;
const MAX_ARTWORK_BUFFER: usize = 6 * 1024 * 1024;
/// The most that the vault holds on to between artworks, in bytes.
pub const KEPT_BUFFERS: usize = ARTWORK_BUFFERS * MAX_ARTWORK_BUFFER;

impl Vault {
    /// The vault in `bucket`.
    #[must_use]
    pub fn new(client: aws_sdk_s3::Client, bucket: &str) -> Self {
        Self {
            client,
            reads: Arc::default(),
            bucket: bucket.into(),
            artworks: Buffers::new(ARTWORK_BUFFERS, MAX_ARTWORK_BUFFER),
        }
    }

    /// Returns the client for artworks.
    fn reads(&self) -> &aws_sdk_s3::Client {
        self.reads.get_or_init(|| {
            let config = self.client.config().to_builder().retry_config(RetryConfig::disabled());
            aws_sdk_s3::Client::from_conf(config.build())
        })
    }
}
