//! The vault: one S3 bucket with the artworks of all artists and, under `bdr/`, the ZIPs.

mod archives;
mod buffers;
mod email_mark;
mod erase;
mod error;
mod key;
mod object;
mod read;
mod upload;

use std::sync::{Arc, OnceLock};

use aws_sdk_s3::config::retry::RetryConfig;

use buffers::BufferPool;

pub use archives::{ListedArchive, MAX_DELETED_PER_CALL, NotDeleted};
pub use erase::{ErasablePage, NotErased, OpenUpload, UploadPage, UploadPosition};
pub use error::VaultError;
pub use key::{ArchiveKey, ArtworkKey, EmailMarkKey, Erasable, InvalidArtworkKey};
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
    /// Buffers for the files of large artworks.
    artwork_buffers: BufferPool,
}

/// Maximum number of unused buffers for artworks that the vault keeps.
const MAX_ARTWORK_BUFFERS: usize = 2;
/// Maximum size of such a buffer, in bytes.
const MAX_ARTWORK_BUFFER_SIZE: usize = 6 * 1024 * 1024;
/// Maximum memory of unused buffers, in bytes. Part of the memory of the function.
pub const KEPT_BUFFERS: usize = MAX_ARTWORK_BUFFERS * MAX_ARTWORK_BUFFER_SIZE;

impl Vault {
    /// Creates the vault in `bucket`.
    #[must_use]
    pub fn new(client: aws_sdk_s3::Client, bucket: &str) -> Self {
        Self {
            client,
            reads: Arc::default(),
            bucket: bucket.into(),
            artwork_buffers: BufferPool::new(MAX_ARTWORK_BUFFERS, MAX_ARTWORK_BUFFER_SIZE),
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
