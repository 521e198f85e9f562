//! Reads the file of a large artwork by ranges, all of one version of the object.

use std::ops::Range;

use zip_to_s3::s3::Body;

use super::chunks::Chunks;
use super::{ArtworkKey, OpenArtwork, Vault, VaultError};

/// A version of an artwork's file whose CRC32 is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtworkVersion {
    /// The size in bytes.
    pub size: u64,
    /// The CRC32 of the whole file.
    pub crc32: u32,
    e_tag: String,
}

impl ArtworkVersion {
    /// Returns the ETag.
    pub(super) fn e_tag(&self) -> &str {
        &self.e_tag
    }
}

/// A range of a file whose bytes are not read yet.
pub struct OpenRange {
    body: Body,
}

impl OpenArtwork {
    /// Returns the version of the file, if S3 states its CRC32.
    #[must_use]
    pub fn version(&self) -> Option<ArtworkVersion> {
        let (crc32, e_tag) = (self.crc32?, self.e_tag.clone()?);
        Some(ArtworkVersion { size: self.size(), crc32, e_tag })
    }

    /// Returns the beginning of the file. The rest of the response is not read.
    #[must_use]
    pub fn into_range(self) -> OpenRange {
        OpenRange { body: self.into_body() }
    }
}

impl Vault {
    /// Requests a range of an artwork's file.
    ///
    /// # Errors
    /// [`VaultError::Conflict`] when the file has another version; another error when the S3 request
    /// fails.
    pub async fn open_range(
        &self,
        key: &ArtworkKey,
        version: &ArtworkVersion,
        range: Range<u64>,
    ) -> Result<OpenRange, VaultError> {
        let request = self.lean.get(&self.bucket, key.as_str(), Some(range), Some(&version.e_tag));
        let object = Box::pin(request).await?;
        Ok(OpenRange { body: object.body })
    }

    /// Returns no chunks yet of a range of `size` bytes.
    #[must_use]
    pub fn chunks(&self, size: usize) -> Chunks {
        Chunks::new(self.buffers.clone(), size)
    }
}

impl OpenRange {
    /// Returns whether bytes are left.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.body.remaining() > 0
    }

    /// Reads until `chunks` are complete. Bytes that arrived before an error remain, and those behind `chunks` can be
    /// read into others.
    ///
    /// # Errors
    /// [`VaultError::Body`] when the body ends early or stalls.
    pub async fn read_to(&mut self, chunks: &mut Chunks) -> Result<(), VaultError> {
        chunks.read(&mut self.body).await
    }
}
