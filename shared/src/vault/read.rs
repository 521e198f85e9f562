//! Reads the file of an artwork in two steps: the head of the response with the size, then the
//! whole body. In between the caller can reserve memory.

use aws_sdk_s3::primitives::ByteStream;
use tokio::time::timeout;
use zip_to_s3::s3::{self, Body};

use super::buffers::BufferPool;
use super::chunks::{Chunk, Chunks, NEXT_BYTES_TIMEOUT, crc32_of};
use super::{ArtworkKey, Vault, VaultError};

/// The file of an artwork whose size is known and whose body is not read yet.
pub struct OpenArtwork {
    size: u64,
    pub(super) crc32: Option<u32>,
    pub(super) e_tag: Option<String>,
    body: Body,
    buffers: BufferPool,
}

impl Vault {
    /// Requests the file of an artwork.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when it does not exist; another error when the S3 request fails.
    pub async fn open(&self, key: &ArtworkKey) -> Result<OpenArtwork, VaultError> {
        let request = self.lean.get(&self.bucket, key.as_str(), None, None);
        // Boxed: the future has kilobytes, which would stay with the caller's task.
        let object = Box::pin(request).await?;
        let buffers = self.buffers.clone();
        let s3::Object { size, e_tag, crc32, body, .. } = object;
        Ok(OpenArtwork { size, crc32, e_tag, body, buffers })
    }
}

impl Vault {
    /// Returns an object of at most `max` bytes, if there is one.
    ///
    /// # Errors
    /// When the S3 request fails, or the object is larger.
    pub(super) async fn small_object(
        &self,
        key: &str,
        max: u64,
    ) -> Result<Option<Vec<u8>>, VaultError> {
        let get = self.client.get_object().bucket(&*self.bucket).key(key).send().await;
        let response = match get.map_err(VaultError::from) {
            Ok(response) => response,
            Err(VaultError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let body = announced(response.content_length, response.body)?;
        if body.remaining() > max {
            return Err(VaultError::Body(format!("{key} is larger than {max} bytes")));
        }
        read_whole(body).await.map(Some)
    }
}

impl OpenArtwork {
    /// Returns the size of the file in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Closes the connection after the file, instead of keeping it for another request.
    pub fn close_connection(&self) {
        self.body.close_connection();
    }

    /// Reads the whole file. Holds at most `size` bytes. Returns its chunks, and the CRC32 of them all.
    ///
    /// # Errors
    /// [`VaultError::Body`] when the body ends early, stalls, or has another length than `size` or another
    /// CRC32 than S3 states.
    pub async fn read(mut self) -> Result<(Vec<Chunk>, u32), VaultError> {
        let mut chunks = Chunks::new(self.buffers, address_space(self.size)?);
        chunks.read(&mut self.body).await?;
        let chunks = chunks.finish();
        let crc32 = crc32_of(&chunks);
        if self.crc32.is_some_and(|stated| stated != crc32) {
            return Err(VaultError::Body("the bytes have another CRC32 than S3 states".into()));
        }
        Ok((chunks, crc32))
    }

    pub(super) fn into_body(self) -> Body {
        self.body
    }
}

/// Returns a body of the SDK with its announced length.
pub(super) fn announced(length: Option<i64>, body: ByteStream) -> Result<Body, VaultError> {
    let length = length.and_then(|length| u64::try_from(length).ok());
    let missing = || VaultError::Body("the response has no Content-Length".into());
    Ok(Body::new(body.into_inner(), length.ok_or_else(missing)?))
}

/// Reads a whole body.
pub(super) async fn read_whole(mut body: Body) -> Result<Vec<u8>, VaultError> {
    let mut whole = Vec::new();
    whole.reserve_exact(address_space(body.remaining())?);
    let stalled = |_| VaultError::Body("the body stalled".into());
    while let Some(bytes) = timeout(NEXT_BYTES_TIMEOUT, body.next()).await.map_err(stalled)? {
        whole.extend_from_slice(&bytes?);
    }
    Ok(whole)
}

fn address_space(size: u64) -> Result<usize, VaultError> {
    usize::try_from(size)
        .map_err(|_| VaultError::Body("the object is larger than the address space".into()))
}
