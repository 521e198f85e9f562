//! Reading an artwork's file, in two steps: the head of the answer, which tells the size, then the
//! whole body. In between the reader can make room for it.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use tokio::time::timeout;

use super::{ArtworkKey, Vault, VaultError};

/// Longest silence of a body. Back-pressure is over when [`OpenArtwork::read`] is called.
const BODY_SILENCE: Duration = Duration::from_secs(15);

/// An artwork's file whose size is known and whose body has not been read yet.
pub struct OpenArtwork {
    size: u64,
    body: ByteStream,
}

impl Vault {
    /// Asks for an artwork's file.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when it is missing for good; otherwise what S3 answered.
    pub async fn open(&self, key: &ArtworkKey) -> Result<OpenArtwork, VaultError> {
        let answer =
            self.client.get_object().bucket(&*self.bucket).key(key.as_str()).send().await?;
        let size = answer
            .content_length
            .and_then(|length| u64::try_from(length).ok())
            .ok_or_else(|| VaultError::Body("the answer has no Content-Length".into()))?;
        Ok(OpenArtwork { size, body: answer.body })
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
        let mut whole = BytesMut::new();
        loop {
            let chunk = timeout(BODY_SILENCE, self.body.next())
                .await
                .map_err(|_| VaultError::Body("it stalled".into()))?;
            match chunk {
                // The usual small file comes in one piece and is handed on as it is.
                Some(Ok(chunk)) if whole.is_empty() && chunk.len() == size => {
                    return self.ended(size, chunk).await;
                }
                Some(Ok(chunk)) if whole.len() + chunk.len() <= size => {
                    whole.reserve(size - whole.len());
                    whole.extend_from_slice(&chunk);
                }
                Some(Ok(_)) => return Err(VaultError::Body("longer than announced".into())),
                Some(Err(error)) => return Err(VaultError::Body(error.to_string())),
                None if whole.len() == size => return Ok(whole.freeze()),
                None => return Err(VaultError::Body("shorter than announced".into())),
            }
        }
    }

    /// Waits for the end of a body that should hold no more bytes, so that its connection can
    /// serve the next request.
    async fn ended(&mut self, size: usize, whole: Bytes) -> Result<Bytes, VaultError> {
        match timeout(BODY_SILENCE, self.body.next()).await {
            Ok(None) => Ok(whole),
            Ok(Some(Ok(more))) if more.is_empty() => Ok(whole),
            Ok(Some(Ok(_))) => Err(VaultError::Body(format!("longer than {size} bytes"))),
            Ok(Some(Err(error))) => Err(VaultError::Body(error.to_string())),
            Err(_) => Err(VaultError::Body("it stalled at its end".into())),
        }
    }
}
