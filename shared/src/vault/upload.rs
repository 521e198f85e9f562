//! Writing a ZIP into the vault as it is made.
//!
//! [`Upload`] is a sink. It cuts what is written into parts and sends up to six of them while the
//! next one fills; a writer that is faster than S3 waits. Memory: [`PART_BUFFERS`] × [`part_size`].
//! A ZIP smaller than one part is sent as one `PutObject`. Either way the object comes to be whole
//! or not at all, and never replaces another (`If-None-Match: *`).
//!
//! Parts that are never put together cost money and are not seen by anybody. So an upload is aborted
//! however its attempt ends, and what a killed attempt has left behind is aborted by the one that
//! succeeds ([`Vault::abort_leftover_uploads`]).
//!
//! S3's limits ("Amazon S3 multipart upload limits"): at most 10,000 parts of 5 MiB to 5 GiB, all
//! but the last at least 5 MiB.

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

use super::buffers::Buffers;
use super::{ArchiveKey, Vault, VaultError};

const MIB: usize = 1024 * 1024;
/// Parts being sent while the next one fills. With two of them 2 GB took 2.5 times as long at 30 ms, and
/// each further one is 5 MiB of memory.
const IN_FLIGHT: usize = 6;
/// Part buffers that exist at once.
pub const PART_BUFFERS: usize = IN_FLIGHT + 1;
/// Highest part number.
const MAX_PARTS: i32 = 10_000;
/// Longest wait, when giving up, for the id of the upload to abort, and again for the abort.
const ABORT_PATIENCE: Duration = Duration::from_secs(5);

/// The size of part `number` (from 1), in bytes: the smallest that S3 takes to begin with, and larger
/// beyond 10 GiB and 26 GiB, so that 10,000 parts hold 120 GiB, more than a function can move in its 15
/// minutes.
#[must_use]
pub const fn part_size(number: i32) -> usize {
    match number {
        ..=2_000 => 5 * MIB,
        2_001..=4_000 => 8 * MIB,
        _ => 16 * MIB,
    }
}

type UploadId = Shared<BoxFuture<'static, Result<Arc<str>, Arc<VaultError>>>>;

/// A ZIP on its way into the vault. To be ended by [`Upload::finish`] or [`Upload::abort`]; one that is
/// dropped, because its attempt panicked or was cancelled, is aborted in the background.
pub struct Upload {
    vault: Vault,
    key: ArchiveKey,
    /// The part that is filling.
    buffer: Vec<u8>,
    buffers: Buffers,
    /// Bytes written so far.
    size: u64,
    /// Parts begun so far.
    parts: i32,
    in_flight: JoinSet<Result<CompletedPart, VaultError>>,
    sent: Vec<CompletedPart>,
    /// S3's id of the multipart upload; there once the first part has been begun.
    id: Option<UploadId>,
    failure: Option<VaultError>,
    /// Since when the writer waits for a part to be taken.
    waiting_since: Option<Instant>,
    waited: Duration,
}

/// How an upload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// The object stands in the vault, with this many bytes.
    Created(u64),
    /// An object stands there already, or the upload was taken away: look and adopt.
    Conflict,
}

impl Vault {
    /// Begins a ZIP. Nothing is sent before the first part is full.
    #[must_use]
    pub fn upload(&self, key: ArchiveKey) -> Upload {
        Upload {
            vault: self.clone(),
            key,
            buffer: Vec::new(),
            buffers: Buffers::new(PART_BUFFERS, part_size(MAX_PARTS)),
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
    /// Sends what is left and makes the object appear, by `until` at the latest.
    ///
    /// # Errors
    /// What S3 answered, or that the time is up; the upload is then aborted.
    pub async fn finish(mut self, until: Instant) -> Result<Finished, VaultError> {
        let ending = async {
            if self.id.is_none() { self.put_whole().await } else { self.complete().await }
        };
        let time_is_up = |_| Err(VaultError::Service("stopped before the deadline".to_owned()));
        match timeout_at(until, ending).await.unwrap_or_else(time_is_up) {
            Ok(()) => {
                self.id = None;
                Ok(Finished::Created(self.size))
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

    /// Gives up: nothing of the ZIP stays. What cannot be aborted is left to the bucket's
    /// lifecycle rule.
    pub async fn abort(mut self) {
        self.in_flight.shutdown().await;
        if let Some(upload_id) = self.id.take() {
            self.vault.abort_once_created(&self.key, upload_id).await;
        }
    }

    /// How long the writer has waited for parts to be taken.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The failure behind an error of the sink, if there was one.
    pub fn take_failure(&mut self) -> Option<VaultError> {
        self.failure.take()
    }

    async fn put_whole(&mut self) -> Result<(), VaultError> {
        self.vault
            .client
            .put_object()
            .bucket(&*self.vault.bucket)
            .key(self.key.as_str())
            .content_type("application/zip")
            .if_none_match("*")
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(ByteStream::from(std::mem::take(&mut self.buffer)))
            .customize()
            .disable_payload_signing() // the CRC32 and TLS protect it at half the CPU
            .send()
            .await?;
        Ok(())
    }

    async fn complete(&mut self) -> Result<(), VaultError> {
        if !self.buffer.is_empty() {
            self.send_part()?;
        }
        while let Some(part) = self.in_flight.join_next().await {
            self.sent.push(part.map_err(|error| VaultError::Service(error.to_string()))??);
        }
        self.sent.sort_unstable_by_key(|part| part.part_number);
        let upload_id =
            self.upload_id().await.map_err(|error| VaultError::Service(error.to_string()))?;
        self.vault
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
        Ok(())
    }

    /// Hands the full buffer to a task that sends it.
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

    /// The id of the multipart upload, which is created when it is first asked for, by a task of
    /// its own: aborting a part must not lose the id of an upload that is just coming to be.
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

    /// Notes the failure and makes it an error of the sink.
    fn broken(&mut self, error: VaultError) -> io::Error {
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
    /// Aborts the multipart uploads that were begun for `key` and never ended: those of attempts
    /// that were killed. An attempt that is alive and loses its upload finds the ZIP already there.
    /// To be called once it is. What cannot be aborted is left to the bucket's lifecycle rule.
    pub async fn abort_leftover_uploads(&self, key: &ArchiveKey) {
        let listing =
            self.client.list_multipart_uploads().bucket(&*self.bucket).prefix(key.as_str()).send();
        let listed = match timeout(ABORT_PATIENCE, listing).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(error)) => return left_to_lifecycle(&error.into()),
            Err(_) => return left_to_lifecycle(&no_answer()),
        };
        for upload in listed.uploads.unwrap_or_default() {
            if let (Some(upload_id), true) =
                (upload.upload_id, upload.key.as_deref() == Some(key.as_str()))
            {
                tracing::info!(key = %key, "aborting a multipart upload that was left behind");
                self.abort_upload(key, &upload_id).await;
            }
        }
    }

    /// Aborts an upload that may be about to exist: its id is awaited, or it would stay behind.
    async fn abort_once_created(&self, key: &ArchiveKey, upload_id: UploadId) {
        if let Ok(Ok(upload_id)) = timeout(ABORT_PATIENCE, upload_id).await {
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
        let aborted = match timeout(ABORT_PATIENCE, aborting).await {
            Ok(answer) => answer.map(drop).map_err(VaultError::from),
            Err(_) => Err(no_answer()),
        };
        match aborted {
            Ok(()) | Err(VaultError::Conflict(_) | VaultError::NotFound) => {}
            Err(error) => left_to_lifecycle(&error),
        }
    }

    async fn create_upload(&self, key: &ArchiveKey) -> Result<Arc<str>, VaultError> {
        let created = self
            .client
            .create_multipart_upload()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .content_type("application/zip")
            // Said here, with the parts and at completion alike, or S3 rejects the parts.
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .checksum_type(ChecksumType::Composite)
            .send()
            .await?;
        created
            .upload_id
            .map(Arc::from)
            .ok_or_else(|| VaultError::Service("the upload that was created has no id".into()))
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

fn no_answer() -> VaultError {
    VaultError::Service("no answer in time".to_owned())
}

fn left_to_lifecycle(error: &VaultError) {
    tracing::warn!(
        error = %error,
        "failed to abort the multipart upload; the bucket's lifecycle will"
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
            return Poll::Ready(Err(io::Error::other("the upload has failed")));
        }
        let room = part_size(this.parts + 1);
        if this.buffer.len() == room {
            while this.in_flight.len() >= IN_FLIGHT {
                let Poll::Ready(sent) = this.in_flight.poll_join_next(cx) else {
                    this.waiting_since.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                };
                match sent {
                    Some(Ok(Ok(part))) => this.sent.push(part),
                    Some(Ok(Err(error))) => return Poll::Ready(Err(this.broken(error))),
                    Some(Err(error)) => {
                        let error = VaultError::Service(error.to_string());
                        return Poll::Ready(Err(this.broken(error)));
                    }
                    None => break,
                }
            }
            if let Some(since) = this.waiting_since.take() {
                this.waited += since.elapsed();
            }
            if let Err(error) = this.send_part() {
                return Poll::Ready(Err(this.broken(error)));
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
    fn ten_thousand_parts_hold_more_than_a_function_can_move() {
        let all: u64 = (1..=MAX_PARTS).map(|number| part_size(number) as u64).sum();
        assert_eq!(all, 122_000 * 1024 * 1024);
        assert!((1..=MAX_PARTS).all(|n| (5 << 20..5 << 30).contains(&(part_size(n) as u64))));
    }
}
