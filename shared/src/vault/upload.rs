//! Writes a ZIP into the vault while it is created.
//!
//! [`Upload`] is a sink. It splits the ZIP into parts and sends up to six of them while the next
//! one fills; a writer that is faster than S3 waits. Memory: [`PART_BUFFERS`] × [`part_size`]. A
//! ZIP smaller than one part is sent by `PutObject`. In both cases the object appears whole or not
//! at all, and never replaces another one (`If-None-Match: *`).
//!
//! Parts of an incomplete multipart upload cost money and do not show in a listing of objects. So
//! an upload is aborted however its attempt ends. The attempt that succeeds aborts the uploads of
//! attempts that were killed ([`Vault::abort_leftover_uploads`]).
//!
//! Limits ("Amazon S3 multipart upload limits"): at most 10,000 parts of 5 MiB to 5 GiB; only the
//! last part may be smaller.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, Shared};
use futures_util::io::AsyncWrite;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument;

use super::buffers::BufferPool;
use super::{ArchiveKey, Vault, VaultError};

const MIB: usize = 1024 * 1024;
/// Maximum parts in flight while the next one fills. With two of them 2 GB took 2.5 times as long
/// at a latency of 30 ms. Each one needs 5 MiB of memory.
const MAX_IN_FLIGHT: usize = 6;
/// Maximum part buffers in use at once.
pub const PART_BUFFERS: usize = MAX_IN_FLIGHT + 1;
/// Maximum number of parts ("Amazon S3 multipart upload limits").
const MAX_PARTS: i32 = 10_000;
/// Time limit for the id of an upload to abort, and again for the abort.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the size of part `number` (from 1), in bytes. The first 2,000 parts have the minimum
/// that S3 accepts. Later ones are larger, so that 10,000 parts hold 119 GiB: more than a function
/// can transfer in its 15 minutes.
#[must_use]
pub const fn part_size(number: i32) -> usize {
    match number {
        ..=2_000 => 5 * MIB,
        2_001..=4_000 => 8 * MIB,
        _ => 16 * MIB,
    }
}

type UploadId = Shared<BoxFuture<'static, Result<Arc<str>, Arc<VaultError>>>>;

/// An upload of a ZIP into the vault. End it by [`Upload::finish`] or [`Upload::abort`]. A drop,
/// after a panic or a cancellation, aborts it in the background.
pub struct Upload {
    vault: Vault,
    key: ArchiveKey,
    /// The current part.
    buffer: Vec<u8>,
    buffers: BufferPool,
    /// Number of bytes written.
    size: u64,
    /// Number of parts sent or in flight.
    parts: i32,
    in_flight: JoinSet<Result<CompletedPart, VaultError>>,
    sent: Vec<CompletedPart>,
    /// The id of the multipart upload; set when the first part is sent.
    id: Option<UploadId>,
    failure: Option<VaultError>,
    /// The start of the current wait of the writer for a part in flight.
    waiting_since: Option<Instant>,
    waited: Duration,
}

/// The result of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// The object is in the vault.
    Created {
        /// Its size in bytes.
        size_bytes: u64,
        /// Its ETag.
        e_tag: Option<String>,
    },
    /// Another object exists at the key, or another attempt aborted the upload: adopt that object.
    Conflict,
}

impl Vault {
    /// Starts an upload. Sends nothing until the first part is full.
    #[must_use]
    pub fn upload(&self, key: ArchiveKey) -> Upload {
        Upload {
            vault: self.clone(),
            key,
            buffer: Vec::new(),
            buffers: BufferPool::new(PART_BUFFERS, part_size(MAX_PARTS)),
            size: 0,
            parts: 0,
            in_flight: JoinSet::new(),
            sent: Vec::new(),
            id: None,
            failure: None,
            waiting_since: None,
            waited: Duration::ZERO,
        }
    }
}

impl Upload {
    /// Sends the rest and completes the object before `until`.
    ///
    /// # Errors
    /// When an S3 request fails or the time is up. The upload is then aborted.
    pub async fn finish(mut self, until: Instant) -> Result<Finished, VaultError> {
        let ending = async {
            if self.id.is_none() { self.put_whole().await } else { self.complete().await }
        };
        let time_is_up = |_| Err(VaultError::Service("stopped before the deadline".to_owned()));
        match timeout_at(until, ending).await.unwrap_or_else(time_is_up) {
            Ok(e_tag) => {
                self.id = None;
                Ok(Finished::Created { size_bytes: self.size, e_tag })
            }
            Err(error) => {
                self.abort().await;
                match error {
                    VaultError::Conflict(_) => Ok(Finished::Conflict),
                    error => Err(error),
                }
            }
        }
    }

    /// Aborts the upload and removes its parts. If that fails, the lifecycle rule of the bucket
    /// removes them.
    pub async fn abort(mut self) {
        self.in_flight.shutdown().await;
        if let Some(upload_id) = self.id.take() {
            self.vault.abort_once_created(&self.key, upload_id).await;
        }
    }

    /// Returns the time that the writer waited for parts in flight.
    #[must_use]
    pub fn waited(&self) -> Duration {
        // A wait that still runs counts: it may be the one that the deadline ended.
        self.waited + self.waiting_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Takes the failure behind an error of the sink, if there is one.
    pub fn take_failure(&mut self) -> Option<VaultError> {
        self.failure.take()
    }

    /// Returns the ETag of the object.
    async fn put_whole(&mut self) -> Result<Option<String>, VaultError> {
        let put = self
            .vault
            .client
            .put_object()
            .bucket(&*self.vault.bucket)
            .key(self.key.as_str())
            .content_type("application/zip")
            .if_none_match("*")
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(ByteStream::from(std::mem::take(&mut self.buffer)))
            .customize()
            .disable_payload_signing() // CRC32 and TLS protect the body at half the CPU time
            .send()
            .await?;
        Ok(put.e_tag)
    }

    /// Returns the ETag of the object.
    async fn complete(&mut self) -> Result<Option<String>, VaultError> {
        if !self.buffer.is_empty() {
            self.send_part()?;
        }
        while let Some(part) = self.in_flight.join_next().await {
            self.sent.push(part.map_err(|error| VaultError::Service(error.to_string()))??);
        }
        self.sent.sort_unstable_by_key(|part| part.part_number);
        let upload_id =
            self.upload_id().await.map_err(|error| VaultError::Service(error.to_string()))?;
        let completed = self
            .vault
            .client
            .complete_multipart_upload()
            .bucket(&*self.vault.bucket)
            .key(self.key.as_str())
            .upload_id(&*upload_id)
            .if_none_match("*")
            .multipart_upload(
                CompletedMultipartUpload::builder()
                    .set_parts(Some(std::mem::take(&mut self.sent)))
                    .build(),
            )
            .send()
            .await?;
        Ok(completed.e_tag)
    }

    /// Starts a task that sends the full buffer.
    fn send_part(&mut self) -> Result<(), VaultError> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(VaultError::Service(format!("the ZIP needs more than {MAX_PARTS} parts")));
        }
        let (vault, key, number) = (self.vault.clone(), self.key.clone(), self.parts);
        let body = self.buffers.lend(std::mem::take(&mut self.buffer));
        let upload_id = self.upload_id();
        self.in_flight.spawn(
            async move {
                let upload_id =
                    upload_id.await.map_err(|error| VaultError::Service(error.to_string()))?;
                vault.send_part(&key, &upload_id, number, body).await
            }
            .in_current_span(),
        );
        Ok(())
    }

    /// Returns the id of the multipart upload. The first call creates the upload in a separate
    /// task, so that the abort of a part does not lose the id of an upload that S3 is creating.
    fn upload_id(&mut self) -> UploadId {
        let (vault, key) = (self.vault.clone(), self.key.clone());
        self.id
            .get_or_insert_with(|| {
                let creating =
                    tokio::spawn(async move { vault.create_upload(&key).await }.in_current_span());
                let created = async move {
                    match creating.await {
                        Ok(result) => result.map_err(Arc::new),
                        Err(error) => Err(Arc::new(VaultError::Service(error.to_string()))),
                    }
                };
                created.boxed().shared()
            })
            .clone()
    }

    /// Stores the failure and returns it as an error of the sink.
    fn fail(&mut self, error: VaultError) -> io::Error {
        let text = error.to_string();
        self.failure = Some(error);
        io::Error::other(text)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(upload_id), Ok(runtime)) = (self.id.take(), Handle::try_current()) else {
            return;
        };
        let (vault, key) = (self.vault.clone(), self.key.clone());
        let mut in_flight = std::mem::take(&mut self.in_flight);
        let aborting = async move {
            in_flight.shutdown().await;
            vault.abort_once_created(&key, upload_id).await;
        };
        runtime.spawn(aborting.in_current_span());
    }
}

impl Vault {
    /// Aborts incomplete multipart uploads for `key`, which are those of killed attempts. Call this
    /// only when the ZIP exists: a live attempt that loses its upload then finds the ZIP. If an
    /// abort fails, the lifecycle rule of the bucket removes the upload.
    pub async fn abort_leftover_uploads(&self, key: &ArchiveKey) {
        let listing =
            self.client.list_multipart_uploads().bucket(&*self.bucket).prefix(key.as_str()).send();
        let listed = match timeout(ABORT_TIMEOUT, listing).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(error)) => return warn_left_to_lifecycle(&error.into()),
            Err(_) => return warn_left_to_lifecycle(&timed_out()),
        };
        for upload in listed.uploads.unwrap_or_default() {
            if let (Some(upload_id), true) =
                (upload.upload_id, upload.key.as_deref() == Some(key.as_str()))
            {
                tracing::info!(key = %key, "aborting the multipart upload of a killed attempt");
                self.abort_upload(key, &upload_id).await;
            }
        }
    }

    /// Waits for the id of an upload and aborts it. Without the wait, an upload that S3 is creating
    /// would be left over.
    async fn abort_once_created(&self, key: &ArchiveKey, upload_id: UploadId) {
        if let Ok(Ok(upload_id)) = timeout(ABORT_TIMEOUT, upload_id).await {
            self.abort_upload(key, &upload_id).await;
        }
    }

    async fn abort_upload(&self, key: &ArchiveKey, upload_id: &str) {
        let aborting = self
            .client
            .abort_multipart_upload()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .upload_id(upload_id)
            .send();
        let aborted = match timeout(ABORT_TIMEOUT, aborting).await {
            Ok(response) => response.map(drop).map_err(VaultError::from),
            Err(_) => Err(timed_out()),
        };
        match aborted {
            Ok(()) | Err(VaultError::Conflict(_) | VaultError::NotFound) => {}
            Err(error) => warn_left_to_lifecycle(&error),
        }
    }

    async fn create_upload(&self, key: &ArchiveKey) -> Result<Arc<str>, VaultError> {
        let created = self
            .client
            .create_multipart_upload()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .content_type("application/zip")
            // The same algorithm as for the parts; otherwise S3 rejects them.
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .checksum_type(ChecksumType::Composite)
            .send()
            .await?;
        created.upload_id.map(Arc::from).ok_or_else(|| {
            VaultError::Service("the response to CreateMultipartUpload has no upload id".into())
        })
    }

    async fn send_part(
        &self,
        key: &ArchiveKey,
        upload_id: &str,
        number: i32,
        body: Bytes,
    ) -> Result<CompletedPart, VaultError> {
        let sent = self
            .client
            .upload_part()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .upload_id(upload_id)
            .part_number(number)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(ByteStream::from(body))
            .customize()
            .disable_payload_signing()
            .send()
            .await?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .set_checksum_crc32(sent.checksum_crc32)
            .build())
    }
}

fn timed_out() -> VaultError {
    VaultError::Service(format!("no response within {} s", ABORT_TIMEOUT.as_secs()))
}

fn warn_left_to_lifecycle(error: &VaultError) {
    tracing::warn!(
        error = %error,
        "failed to abort the upload; leaving it to the lifecycle rule"
    );
}

impl AsyncWrite for Upload {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.failure.is_some() {
            return Poll::Ready(Err(io::Error::other("the upload failed earlier")));
        }
        let room = part_size(this.parts + 1);
        if this.buffer.len() == room {
            while this.in_flight.len() >= MAX_IN_FLIGHT {
                let Poll::Ready(sent) = this.in_flight.poll_join_next(cx) else {
                    this.waiting_since.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                };
                match sent {
                    Some(Ok(Ok(part))) => this.sent.push(part),
                    Some(Ok(Err(error))) => return Poll::Ready(Err(this.fail(error))),
                    Some(Err(error)) => {
                        let error = VaultError::Service(error.to_string());
                        return Poll::Ready(Err(this.fail(error)));
                    }
                    None => break,
                }
            }
            if let Some(since) = this.waiting_since.take() {
                this.waited += since.elapsed();
            }
            if let Err(error) = this.send_part() {
                return Poll::Ready(Err(this.fail(error)));
            }
        }
        let room = part_size(this.parts + 1);
        if this.buffer.capacity() == 0 {
            this.buffer = this.buffers.take(room);
        }
        let taken = bytes.len().min(room - this.buffer.len());
        this.buffer.extend_from_slice(&bytes[..taken]);
        this.size += taken as u64;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_PARTS, part_size};

    #[test]
    fn ten_thousand_parts_hold_119_gib_within_the_limits_of_s3() {
        let all: u64 = (1..=MAX_PARTS).map(|number| part_size(number) as u64).sum();
        assert_eq!(all, 122_000 * 1024 * 1024);
        assert!((1..=MAX_PARTS).all(|n| (5 << 20..5 << 30).contains(&(part_size(n) as u64))));
    }
}
