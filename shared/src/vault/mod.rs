//! The vault: one S3 bucket with the artworks of all artists and, under `bdr/`, the ZIPs.

mod archives;
mod buffers;
mod chunks;
mod email_mark;
mod erase;
mod error;
mod export;
mod key;
mod object;
mod part;
mod range;
mod read;
mod upload;

use std::sync::Arc;

use zip_to_s3::s3;

use crate::aws::{Connections, EarlyConnections};

use buffers::{BUFFER_SIZE, BufferPool};
use upload::{CopyPermission, FillingParts};

pub use archives::{ListedArchive, MAX_DELETED_PER_CALL, NotDeleted};
pub use chunks::{Chunk, Chunks, crc32_of};
pub use erase::{ErasablePage, NotErased, OpenUpload, UploadPage, UploadPosition};
pub use error::VaultError;
pub use export::WrittenSegment;
pub use key::{
    ArchiveKey, ArtworkKey, EmailMarkKey, Erasable, Export, ExportKey, InvalidArtworkKey,
    execution_name,
};
pub use object::{ArchiveObject, archive_comment};
pub use part::{crc32_of_end, cut};
pub use range::{ArtworkVersion, OpenRange};
pub use read::OpenArtwork;
pub use upload::{
    Finished, Leftovers, MAX_JOINED_BYTES, MAX_PARTS, MAX_UPLOAD_BYTES, MIN_PART_MEMORY, PartSizes,
    SuspendedUpload, Upload, copied_parts,
};

/// The vault's bucket. Cloning is cheap.
#[derive(Clone)]
pub struct Vault {
    client: aws_sdk_s3::Client,
    /// The client for what is sent once per artwork or part. It does not retry: artworks are requested
    /// at a pace of the caller's, which has to see every response.
    lean: s3::Client,
    bucket: Arc<str>,
    /// Buffers for parts, and for the files of large artworks, which become segments of parts.
    buffers: BufferPool,
    copies: Arc<CopyPermission>,
    filling_parts: Arc<FillingParts>,
    connections: Option<Connections>,
}

/// Memory of buffers beside the bytes that are fetched or sent, in bytes: the ends of buffers in which a file or a
/// part ends. Of files of 1.75 MiB, 60 MiB are in 69 buffers.
pub const SPARE_BUFFERS: usize = 12 * BUFFER_SIZE;

impl Vault {
    /// Creates the vault in `bucket`.
    #[must_use]
    pub fn new(client: aws_sdk_s3::Client, bucket: &str) -> Self {
        Self {
            lean: s3::Client::new(client.clone()),
            client,
            bucket: bucket.into(),
            buffers: BufferPool::default(),
            copies: Arc::default(),
            filling_parts: Arc::default(),
            connections: None,
        }
    }

    /// Lets the vault open connections before requests need them. `client` must send its requests through
    /// `connections`.
    #[must_use]
    pub fn opening(self, connections: Connections) -> Self {
        Self { connections: Some(connections), ..self }
    }

    /// Opens connections for `count` requests in the background. Without credentials it opens none.
    pub async fn open_connections(&self, count: usize) -> Option<EarlyConnections> {
        let connections = self.connections.as_ref()?;
        // Boxed: the future has kilobytes, which would stay with the caller's task.
        let url = Box::pin(self.lean.url(&self.bucket)).await.ok()?.parse().ok()?;
        Some(connections.open_early(&url, count))
    }
}
