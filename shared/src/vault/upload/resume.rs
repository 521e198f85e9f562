//! An upload that several invocations make: one begins it, others write segments of it as objects of
//! their own, and the last one joins them. S3 copies a segment into the upload (`UploadPartCopy`), so its
//! bytes pass through no function, except the few that fill a part up to the 5 MiB that each part but the
//! last one needs.

use std::ops::Range;
use std::sync::Arc;

use aws_sdk_s3::types::CompletedPart;
use futures_util::future::FutureExt;
use serde::{Deserialize, Serialize};
use zip_to_s3::plan::MIN_PART;
use zip_to_s3::s3::with_retries;

use super::copy::{CopiedRange, MAX_COPIES};
use super::{MIB, Upload};
use crate::vault::read::read_whole;
use crate::vault::{ArchiveKey, ExportKey, Vault, VaultError};

/// Minimum size of a copied range, in bytes: smaller ones cost more requests and gain no time.
const MIN_COPY: u64 = 128 * MIB as u64;
/// Maximum size of a copied range, in bytes ("Amazon S3 multipart upload limits": 5 GiB).
const MAX_COPY: u64 = 5 * 1024 * MIB as u64;
/// Parts that copies may use. The rest is for parts that pass through a function.
const COPIED_PARTS: u64 = 5_000;

/// An upload between two invocations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspendedUpload {
    /// The id; `None` if no part was sent.
    id: Option<String>,
    parts: Vec<SuspendedPart>,
    /// Size of the parts in bytes.
    pub size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SuspendedPart {
    number: i32,
    e_tag: Option<String>,
    crc32: Option<String>,
}

impl Upload {
    /// Waits for the parts in flight, and returns what a later invocation needs to continue, and the
    /// bytes that have no part yet.
    ///
    /// # Errors
    /// When a part fails. The upload is then aborted.
    pub async fn suspend(mut self) -> Result<(SuspendedUpload, Vec<u8>), VaultError> {
        // Withdrawn first: a request that sends it while it fills would not end.
        let rest = self.part.take(&self.buffers).0;
        let id = match self.id.clone() {
            None => None,
            Some(id) => match (self.wait_for_parts(0).await, id.await) {
                (Ok(()), Ok(id)) => Some(id.to_string()),
                (Err(error), _) => return Err(error),
                (_, Err(error)) => return Err(VaultError::Service(error.to_string())),
            },
        };
        let rest = rest.concat();
        let parts = self.sent.iter().map(|part| SuspendedPart {
            number: part.part_number.unwrap_or_default(),
            e_tag: part.e_tag.clone(),
            crc32: part.checksum_crc32.clone(),
        });
        let size = self.size - rest.len() as u64;
        let suspended = SuspendedUpload { id, parts: parts.collect(), size };
        // From now on it belongs to the invocation that continues it.
        self.is_resumed = true;
        Ok((suspended, rest))
    }

    /// Appends the bytes of a segment, which still has this ETag. `total` is the size of the object in
    /// bytes, as far as it is known: it decides how large the copied ranges must be.
    ///
    /// # Errors
    /// When an S3 request fails.
    pub async fn join(
        &mut self,
        segment: &ExportKey,
        size: u64,
        e_tag: &str,
        total: u64,
    ) -> Result<(), VaultError> {
        let mut from = 0;
        if self.part.size() > 0 {
            from = size.min(MIN_PART.saturating_sub(self.part.size() as u64));
            self.append_range(segment, 0..from, e_tag).await?;
        }
        if size - from < MIN_PART {
            return self.append_range(segment, from..size, e_tag).await;
        }
        if self.part.size() > 0 {
            self.wait_for_parts(MAX_COPIES).await?;
            self.send_part()?;
        }
        for range in ranges(from..size, copy_size(total)) {
            self.wait_for_parts(MAX_COPIES).await?;
            self.copy(CopiedRange {
                key: segment.as_str().into(),
                e_tag: e_tag.to_owned(),
                object_size: size,
                range,
                crc32: None,
            })?;
        }
        Ok(())
    }

    /// Appends bytes of a segment through this function.
    async fn append_range(
        &mut self,
        segment: &ExportKey,
        range: Range<u64>,
        e_tag: &str,
    ) -> Result<(), VaultError> {
        if range.is_empty() {
            return Ok(());
        }
        let bytes = self.vault.read_segment(segment, range, e_tag).await?;
        let crc32 = crc32fast::hash(&bytes);
        let appended = self.append(bytes.into(), crc32).await;
        appended.map_err(|error| match self.take_failure() {
            Some(failure) => failure,
            None => VaultError::Service(error.to_string()),
        })
    }
}

impl Vault {
    /// Continues an upload. A failure does not abort it, so that a later invocation can try again.
    #[must_use]
    pub fn resume(&self, key: &ArchiveKey, suspended: SuspendedUpload) -> Upload {
        let mut upload = self.upload(key);
        let Some(id) = suspended.id else { return upload };
        upload.id = Some(std::future::ready(Ok(Arc::from(id))).boxed().shared());
        upload.is_resumed = true;
        upload.size = suspended.size;
        upload.parts = suspended.parts.len().try_into().unwrap_or(u16::MAX);
        let parts = suspended.parts.into_iter().map(|part| {
            CompletedPart::builder()
                .part_number(part.number)
                .set_e_tag(part.e_tag)
                .set_checksum_crc32(part.crc32)
                .build()
        });
        upload.sent = parts.collect();
        upload
    }

    /// Aborts a suspended upload. If that fails, the lifecycle rule of the bucket removes it.
    pub async fn abort_suspended(&self, key: &ArchiveKey, suspended: &SuspendedUpload) {
        if let Some(id) = &suspended.id {
            self.abort_upload(key.as_str(), id).await;
        }
    }

    async fn read_segment(
        &self,
        segment: &ExportKey,
        range: Range<u64>,
        e_tag: &str,
    ) -> Result<Vec<u8>, VaultError> {
        let open =
            || self.lean.get(&self.bucket, segment.as_str(), Some(range.clone()), Some(e_tag));
        let object = with_retries(self.attempts(), open).await?;
        read_whole(object.body).await
    }
}

/// Maximum size of an object that is joined from segments, in bytes: about 24 TiB. The largest object of S3 has
/// 10,000 parts of 5 GiB, but each segment ends a part.
pub const MAX_JOINED_BYTES: u64 = COPIED_PARTS * MAX_COPY;

/// Returns the number of parts that a segment of `size` bytes takes in an object of `total` bytes.
#[must_use]
pub fn copied_parts(size: u64, total: u64) -> u64 {
    size.div_ceil(copy_size(total))
}

/// Returns the size of copied ranges of an object of `total` bytes.
fn copy_size(total: u64) -> u64 {
    total.div_ceil(COPIED_PARTS).clamp(MIN_COPY, MAX_COPY)
}

/// Splits a range into the fewest ranges of at most `size` bytes, which differ by at most one byte.
fn ranges(whole: Range<u64>, size: u64) -> impl Iterator<Item = Range<u64>> {
    let length = whole.end - whole.start;
    let count = length.div_ceil(size);
    let cut = move |n: u64| {
        let bytes = u128::from(length) * u128::from(n) / u128::from(count.max(1));
        whole.start + u64::try_from(bytes).unwrap_or(length)
    };
    (0..count).map(move |n| cut(n)..cut(n + 1))
}

#[cfg(test)]
mod tests {
    use zip_to_s3::plan::MIN_PART;

    use super::{MAX_COPY, MIN_COPY, copy_size, ranges};

    #[test]
    fn copied_ranges_cover_a_segment_within_the_limits_of_s3() {
        for length in [MIN_PART, MIN_COPY, MIN_COPY + 1, 3 * MIN_COPY - 1, 20 * MAX_COPY + 7] {
            for total in [0, length, 1 << 40, 5 << 40] {
                let whole = 3..3 + length;
                let ranges: Vec<_> = ranges(whole.clone(), copy_size(total)).collect();
                assert_eq!((ranges[0].start, ranges.last().unwrap().end), (3, whole.end));
                assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
                let sizes = ranges.iter().map(|range| range.end - range.start);
                assert!(sizes.clone().all(|size| (MIN_PART..=MAX_COPY).contains(&size)));
            }
        }
        assert_eq!(copy_size(1 << 40), (1_u64 << 40).div_ceil(5_000));
    }
}
