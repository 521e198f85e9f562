//! Reading an artwork's file, in two steps: the head of the answer, which tells the size, then the
//! whole body. In between the reader can make room for it.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use tokio::time::timeout;

use super::buffers::Buffers;
use super::{ArtworkKey, Vault, VaultError};

/// Bytes from which on a file is read into a buffer that is used again. The allocator would map and
/// clear as much anew each time (`MALLOC_MMAP_THRESHOLD_` in the template).
const LARGE: usize = 1024 * 1024;
/// Longest silence of a body. Back-pressure is over when [`OpenArtwork::read`] is called.
const BODY_SILENCE: Duration = Duration::from_secs(15);

/// An artwork's file whose size is known and whose body has not been read yet.
pub struct OpenArtwork {
    size: u64,
    body: ByteStream,
    buffers: Buffers,
}

impl Vault {
    /// Asks for an artwork's file.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when it is missing for good; otherwise what S3 answered.
    pub async fn open(&self, key: &ArtworkKey) -> Result<OpenArtwork, VaultError> {
        let asking = self.reads().get_object().bucket(&*self.bucket).key(key.as_str()).send();
        // Kilobytes, which would be moved with the task that waits for it.
        let answer = Box::pin(asking).await?;
        let size = answer
            .content_length
            .and_then(|length| u64::try_from(length).ok())
            .ok_or_else(|| VaultError::Body("the answer has no Content-Length".into()))?;
        Ok(OpenArtwork { size, body: answer.body, buffers: self.artworks.clone() })
    }
}

impl OpenArtwork {
    /// The file's size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The whole file. Holds at most `size` bytes.
    ///
    /// # Errors
    /// [`VaultError::Body`] when it breaks off, stalls, or is longer or shorter than announced.
    pub async fn read(mut self) -> Result<Bytes, VaultError> {
        let size = usize::try_from(self.size)
            .map_err(|_| VaultError::Body("larger than the address space".into()))?;
        // Into a buffer of its own: what comes in lies in the connection's, which is larger, and which
        // the connection uses again once it is free.
        let is_large = size >= LARGE;
        let mut whole = if is_large { self.buffers.take(size) } else { Vec::with_capacity(size) };
        loop {
            let chunk = timeout(BODY_SILENCE, self.body.next())
                .await
                .map_err(|_| VaultError::Body("it stalled".into()))?;
            match chunk {
                Some(Ok(chunk)) if whole.len() + chunk.len() <= size => {
                    whole.extend_from_slice(&chunk);
                }
                Some(Ok(_)) => return Err(VaultError::Body("longer than announced".into())),
                Some(Err(error)) => return Err(VaultError::Body(error.to_string())),
                // Only now, so that the connection can serve the next request.
                None if whole.len() < size => {
                    return Err(VaultError::Body("shorter than announced".into()));
                }
                None if is_large => return Ok(self.buffers.lend(whole)),
                None => return Ok(Bytes::from(whole)),
            }
        }
    }
}
