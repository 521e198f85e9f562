//! Parts that S3 copies from another object of the vault (`UploadPartCopy`): their bytes pass through no
//! function.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use aws_sdk_s3::types::CompletedPart;
use tracing::Instrument;
use zip_to_s3::plan::MIN_PART;
use zip_to_s3::s3::with_retries;

use super::send::SentPart;
use super::{MAX_PARTS, Upload, UploadId};
use crate::vault::{ArtworkKey, ArtworkVersion, Vault, VaultError};

/// Maximum copies in flight. They hold no memory here.
pub(super) const MAX_COPIES: usize = 32;
/// Parts up to which S3 copies artworks. The rest is for bytes that are sent: a copy ends a part early.
const MAX_PARTS_WITH_COPIES: u16 = MAX_PARTS / 2;

/// Bytes of an object of the vault that become a part.
pub(super) struct CopiedRange {
    pub(super) key: Arc<str>,
    pub(super) e_tag: String,
    /// The size of the object in bytes.
    pub(super) object_size: u64,
    pub(super) range: Range<u64>,
    /// The CRC32 of the range, if it is known.
    pub(super) crc32: Option<u32>,
}

/// Whether S3 copies artworks for this process: [`GRANTED`], [`REFUSED`], or 0 while it is not known.
#[derive(Default)]
pub(in crate::vault) struct CopyPermission(AtomicU8);

const GRANTED: u8 = 1;
const REFUSED: u8 = 2;

impl CopyPermission {
    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::Relaxed) == state
    }

    /// Records that S3 has copied, unless it has refused meanwhile.
    fn grant(&self) {
        let _ = self.0.compare_exchange(0, GRANTED, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Records that S3 refuses to copy, and logs it once.
    fn refuse(&self, error: &VaultError) {
        if self.0.swap(REFUSED, Ordering::Relaxed) != REFUSED {
            tracing::warn!(error = %error, "S3 does not copy an artwork; sending every byte from now on");
        }
    }
}

impl Upload {
    /// Returns how many bytes must be written before S3 can copy the next ones, because a part that is not
    /// the last one has a minimum size ("Amazon S3 multipart upload limits"). `None` if S3 refuses to
    /// copy, or the upload has too many parts.
    #[must_use]
    pub fn bytes_before_copy(&self) -> Option<u64> {
        let can_copy = !self.vault.copies.is(REFUSED) && self.parts < MAX_PARTS_WITH_COPIES;
        can_copy.then(|| MIN_PART.saturating_sub(self.part.size() as u64))
    }

    /// Returns whether S3 has copied an artwork for this process, and has refused none since.
    #[must_use]
    pub fn has_copied(&self) -> bool {
        self.vault.copies.is(GRANTED)
    }

    /// Returns the number of bytes that S3 copied or copies.
    #[must_use]
    pub fn copied_bytes(&self) -> u64 {
        self.copied_bytes
    }

    /// Appends the bytes of an artwork from `start` on, which S3 copies. They have this CRC32. The bytes of
    /// [`Upload::bytes_before_copy`] have been written. Returns `false`, and appends nothing, if S3
    /// does not perform the first copy of this process. A later failure fails the upload, and no further one copies.
    ///
    /// # Errors
    /// When the upload has failed, as a write.
    pub async fn copy_artwork(
        &mut self,
        key: &ArtworkKey,
        version: &ArtworkVersion,
        start: u64,
        crc32: u32,
    ) -> io::Result<bool> {
        let range = CopiedRange {
            key: key.as_str().into(),
            e_tag: version.e_tag().to_owned(),
            object_size: version.size,
            range: start..version.size,
            crc32: Some(crc32),
        };
        let copied = self.copy_or_refuse(range).await;
        copied.map_err(|error| self.fail(error))
    }

    async fn copy_or_refuse(&mut self, range: CopiedRange) -> Result<bool, VaultError> {
        let size = range.range.end - range.range.start;
        if self.part.size() > 0 {
            self.send_part()?;
        }
        self.wait_for_parts(MAX_COPIES).await?;
        let copies = Arc::clone(&self.vault.copies);
        let copying = self.copying(range)?;
        if copies.is(GRANTED) {
            self.spawn_copy(async move {
                copying.await.inspect_err(|error| {
                    if is_refusal(error) {
                        copies.refuse(error);
                    }
                })
            });
        } else {
            match copying.await {
                Ok(part) => self.sent.push(part),
                Err(error) if is_refusal(&error) => {
                    copies.refuse(&error);
                    // Numbers without gaps: S3 requires them of parts with checksums.
                    self.parts -= 1;
                    self.size -= size;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
            copies.grant();
        }
        self.copied_bytes += size;
        Ok(true)
    }

    /// Starts a task that copies a range as the next part.
    pub(super) fn copy(&mut self, range: CopiedRange) -> Result<(), VaultError> {
        let copying = self.copying(range)?;
        self.spawn_copy(copying);
        Ok(())
    }

    /// Appends a range, and returns the request that copies it as the next part.
    fn copying(
        &mut self,
        range: CopiedRange,
    ) -> Result<impl Future<Output = Result<CompletedPart, VaultError>> + Send + 'static, VaultError>
    {
        let number = self.next_number()?;
        self.size += range.range.end - range.range.start;
        let (vault, key, upload_id) = (self.vault.clone(), self.key.clone(), self.upload_id());
        Ok(copy_range(vault, key, upload_id, number, range))
    }

    fn spawn_copy(
        &mut self,
        copying: impl Future<Output = Result<CompletedPart, VaultError>> + Send + 'static,
    ) {
        // It takes no memory here.
        let copying = async move { Ok(Some(SentPart { part: copying.await?, memory: 0 })) };
        self.in_flight.spawn(copying.in_current_span());
    }
}

/// Returns whether no further copy is tried after this error: neither the artwork nor the upload is its cause.
/// An S3 that fails to copy, or does not know the operation, may still accept parts.
fn is_refusal(error: &VaultError) -> bool {
    !matches!(error, VaultError::Body(_) | VaultError::Conflict(_))
}

/// Copies a range as a part.
async fn copy_range(
    vault: Vault,
    key: Arc<str>,
    upload_id: UploadId,
    number: u16,
    CopiedRange { key: source, e_tag, object_size, range, crc32 }: CopiedRange,
) -> Result<CompletedPart, VaultError> {
    let id = upload_id.await.map_err(|error| VaultError::Service(error.to_string()))?;
    // S3 copies a range only of an object that is larger than 5 MiB.
    let range = (range != (0..object_size)).then_some(range);
    let copy = || {
        let bucket = &vault.bucket;
        vault.lean.copy_part(bucket, &source, &e_tag, range.clone(), &key, &id, number)
    };
    let part = with_retries(vault.attempts(), copy).await.map_err(|error| match error.code() {
        // Not a conflict of the upload.
        Some("PreconditionFailed" | "NoSuchKey") => {
            VaultError::Body(format!("the object changed before S3 copied it: {error}"))
        }
        _ => error.into(),
    })?;
    if let (Some(expected), Some(copied)) = (crc32, part.crc32)
        && expected != copied
    {
        return Err(VaultError::Body("S3 copied bytes with another CRC32 than it states".into()));
    }
    Ok(part.completed())
}
