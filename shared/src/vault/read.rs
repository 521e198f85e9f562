//! Reads the file of an artwork in two steps: the head of the response with the size, then the
//! whole body. In between the caller can reserve memory.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use tokio::time::timeout;

use super::buffers::BufferPool;
use super::{ArtworkKey, Vault, VaultError};

/// Size from which a file is read into a buffer of the pool, in bytes. The allocator would map and
/// zero as much memory each time (`MALLOC_MMAP_THRESHOLD_` in the template).
const MIN_POOLED_SIZE: usize = 1024 * 1024;
/// Time limit for the next chunk of a body. There is no back-pressure during [`OpenArtwork::read`].
const CHUNK_TIMEOUT: Duration = Duration::from_secs(15);

/// The file of an artwork whose size is known and whose body is not read yet.
pub struct OpenArtwork {
    size: u64,
    body: ByteStream,
    buffers: BufferPool,
}

impl Vault {
    /// Requests the file of an artwork.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when it does not exist; another error when the S3 request fails.
    pub async fn open(&self, key: &ArtworkKey) -> Result<OpenArtwork, VaultError> {
        let request = self.reads().get_object().bucket(&*self.bucket).key(key.as_str()).send();
        // Boxed: the future has kilobytes, which would move with the caller's task.
        let response = Box::pin(request).await?;
        let size = body_size(response.content_length)?;
        Ok(OpenArtwork { size, body: response.body, buffers: self.artwork_buffers.clone() })
    }
}

impl OpenArtwork {
    /// Returns the size of the file in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads the whole file. Holds at most `size` bytes.
    ///
    /// # Errors
    /// [`VaultError::Body`] when the body ends early, stalls, or has another length than `size`.
    pub async fn read(self) -> Result<Bytes, VaultError> {
        let size = usize::try_from(self.size)
            .map_err(|_| VaultError::Body("the object is larger than the address space".into()))?;
        // Copied: a chunk keeps the buffer of its connection in use, which is larger and which the
        // connection reuses once it is free.
        let is_large = size >= MIN_POOLED_SIZE;
        let whole = if is_large { self.buffers.take(size) } else { Vec::with_capacity(size) };
        let whole = read_whole(self.body, whole, size).await?;
        Ok(if is_large { self.buffers.lend(whole) } else { Bytes::from(whole) })
    }
}

/// Returns the size of a body of S3 in bytes.
pub(super) fn body_size(content_length: Option<i64>) -> Result<u64, VaultError> {
    content_length
        .and_then(|length| u64::try_from(length).ok())
        .ok_or_else(|| VaultError::Body("the response has no Content-Length".into()))
}

/// Reads a whole body of `size` bytes into the empty buffer `whole`.
pub(super) async fn read_whole(
    mut body: ByteStream,
    mut whole: Vec<u8>,
    size: usize,
) -> Result<Vec<u8>, VaultError> {
    loop {
        let chunk = timeout(CHUNK_TIMEOUT, body.next())
            .await
            .map_err(|_| VaultError::Body("the body stalled".into()))?;
        match chunk {
            Some(Ok(chunk)) if whole.len() + chunk.len() <= size => {
                whole.extend_from_slice(&chunk);
            }
            Some(Ok(_)) => {
                return Err(VaultError::Body("the body is longer than its Content-Length".into()));
            }
            Some(Err(error)) => return Err(VaultError::Body(error.to_string())),
            // Read to the end of the body, so that the connection can serve the next request.
            None if whole.len() < size => {
                return Err(VaultError::Body("the body is shorter than its Content-Length".into()));
            }
            None => return Ok(whole),
        }
    }
}
