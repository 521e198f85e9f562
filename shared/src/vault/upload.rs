//! Writes a ZIP into the vault while it is created.
//!
//! [`Upload`] is a sink. It splits the ZIP into parts and sends them while they fill (`send`); a writer
//! that is faster than S3 waits. A ZIP smaller than one part is sent by `PutObject`. In both cases the
//! object appears whole or not at all, and never replaces another one (`If-None-Match: *`).
//!
//! Parts of an incomplete multipart upload cost money and do not show in a listing of objects. So
//! an upload is aborted however its attempt ends. The attempt that succeeds aborts the uploads of
//! attempts that were killed ([`Vault::abort_leftover_uploads`]).
//!
//! Limits ("Amazon S3 multipart upload limits"): at most 10,000 parts of 5 MiB to 5 GiB; only the
//! last part may be smaller.

mod copy;
mod leftovers;
mod resume;
mod send;
mod sizes;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, Shared};
use futures_util::io::AsyncWrite;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument;
use zip_to_s3::s3::{body_of, encode_crc32};

use leftovers::Listing;
use send::{Filling, SentPart};
use sizes::{EndedPart, PartLimits};

pub(super) use copy::CopyPermission;
pub use leftovers::Leftovers;
pub use resume::{MAX_JOINED_BYTES, SuspendedUpload, copied_parts};
pub(super) use send::FillingParts;
pub use sizes::{MAX_UPLOAD_BYTES, MIN_PART_MEMORY, PartSizes};

use super::buffers::{BUFFER_SIZE, BufferPool};
use super::part::{FillingPart, cut};
use super::{ArchiveKey, ExportKey, Vault, VaultError};

const MIB: usize = 1024 * 1024;
/// Maximum number of parts ("Amazon S3 multipart upload limits").
pub const MAX_PARTS: u16 = 10_000;
/// Time limit for the id of an upload to abort, and again for the abort.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

type UploadId = Shared<BoxFuture<'static, Result<Arc<str>, Arc<VaultError>>>>;

/// An upload of a ZIP into the vault. End it by [`Upload::finish`] or [`Upload::abort`]. A drop,
/// after a panic or a cancellation, aborts it in the background.
pub struct Upload {
    vault: Vault,
    key: Arc<str>,
    /// The current part.
    part: FillingPart,
    filling: Filling,
    limits: PartLimits,
    /// The last part that was not copied.
    last: Option<EndedPart>,
    /// Whether the current part is expected to fill soon.
    fills_soon: bool,
    buffers: BufferPool,
    sizes: PartSizes,
    /// Bytes of the complete parts in flight.
    in_flight_bytes: usize,
    /// The size of the object in bytes, as far as the writer can tell.
    expected_size: u64,
    /// Number of bytes written or copied.
    size: u64,
    /// Number of bytes of artworks that S3 copies.
    copied_bytes: u64,
    /// Number of complete parts, sent or in flight.
    parts: u16,
    /// Parts in flight.
    in_flight: JoinSet<Result<Option<SentPart>, VaultError>>,
    sent: Vec<CompletedPart>,
    /// The id of the multipart upload; set when the first part is sent.
    id: Option<UploadId>,
    /// Lists other uploads for the key, if it is that of an archive.
    listing: Listing,
    /// Whether a later invocation can continue the upload, which therefore survives a failure.
    is_resumed: bool,
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
        /// The other uploads for its key, if they were listed.
        leftovers: Option<Leftovers>,
    },
    /// Another object exists at the key, or another attempt aborted the upload: adopt that object.
    Conflict,
}

impl Vault {
    /// Starts an upload. Sends nothing until the first part is full.
    #[must_use]
    pub fn upload(&self, key: &ArchiveKey) -> Upload {
        let mut upload = self.upload_to(key.as_str());
        upload.listing = Listing::Planned;
        upload
    }

    /// Starts the upload of a segment of a large export.
    #[must_use]
    pub fn upload_segment(&self, key: &ExportKey) -> Upload {
        self.upload_to(key.as_str())
    }

    fn upload_to(&self, key: &str) -> Upload {
        let sizes = PartSizes::default();
        Upload {
            vault: self.clone(),
            key: key.into(),
            part: FillingPart::default(),
            filling: Filling::default(),
            limits: sizes.limits(1, 0, None),
            last: None,
            fills_soon: false,
            buffers: self.buffers.clone(),
            sizes,
            in_flight_bytes: 0,
            expected_size: u64::MAX,
            size: 0,
            copied_bytes: 0,
            parts: 0,
            in_flight: JoinSet::new(),
            sent: Vec::new(),
            id: None,
            listing: Listing::Unneeded,
            is_resumed: false,
            failure: None,
            waiting_since: None,
            waited: Duration::ZERO,
        }
    }
}

impl Upload {
    /// Sends parts of these sizes.
    #[must_use]
    pub fn with_parts(mut self, sizes: PartSizes) -> Self {
        self.sizes = sizes;
        self
    }

    /// Appends bytes with this CRC32. They are sent from where they are, unless they are few. More than 1 MiB at once
    /// are copied, because all of them would stay in use until the last part with some is sent.
    ///
    /// # Errors
    /// When the upload has failed, as a write.
    pub async fn append(&mut self, mut bytes: Bytes, mut crc32: u32) -> io::Result<()> {
        let are_copied = bytes.len() > BUFFER_SIZE;
        while !bytes.is_empty() {
            let room = poll_fn(|cx| self.poll_room(cx, bytes.len())).await?;
            let size = room.min(bytes.len());
            self.size += size as u64;
            if are_copied {
                self.part.copy(&bytes.split_to(size), &self.buffers);
            } else {
                let (start, of_start) = cut(&mut bytes, &mut crc32, size);
                self.part.append(start, of_start, &self.buffers);
            }
            self.send_while_filling().map_err(|error| self.fail(error))?;
        }
        Ok(())
    }

    /// Returns the size of the current part when it is full, in bytes.
    #[must_use]
    pub fn part_size(&self) -> usize {
        if self.part.size() == 0 { self.next_limits().size } else { self.limits.size }
    }

    /// Tells the size that the object will have, as far as the writer can tell. A part that it would not fill is
    /// sent when it is complete.
    pub fn expect(&mut self, size: u64) {
        self.expected_size = size;
    }

    fn next_limits(&self) -> PartLimits {
        self.sizes.limits(self.parts + 1, self.size, self.last)
    }

    /// Waits until the current part and the memory have room for `wanted` bytes, or for the rest of the part if that
    /// is less. Returns the room in bytes. Sends a full part first.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        if self.failure.is_some() {
            return Poll::Ready(Err(io::Error::other("the upload failed earlier")));
        }
        if self.part.size() == self.limits.size
            && let Err(error) = self.send_part()
        {
            return Poll::Ready(Err(self.fail(error)));
        }
        if self.part.size() == 0 && self.waiting_since.is_none() {
            self.begin_part();
        }
        let PartLimits { size, memory } = self.limits;
        let room = loop {
            let of_part = size - self.part.size();
            let of_memory = memory.saturating_sub(self.in_flight_bytes + self.part.size());
            if of_memory >= wanted.min(of_part) {
                break of_part.min(of_memory);
            }
            let Poll::Ready(sent) = self.in_flight.poll_join_next(cx) else {
                self.waiting_since.get_or_insert_with(Instant::now);
                return Poll::Pending;
            };
            match sent {
                Some(Ok(Ok(sent))) => self.add_sent(sent),
                Some(Ok(Err(error))) => return Poll::Ready(Err(self.fail(error))),
                Some(Err(error)) => {
                    let error = VaultError::Service(error.to_string());
                    return Poll::Ready(Err(self.fail(error)));
                }
                // No part is in flight, so the memory has room for the rest of this one.
                None => break of_part,
            }
        };
        self.end_wait();
        Poll::Ready(Ok(room))
    }

    fn end_wait(&mut self) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Sends the rest and completes the object before `until`.
    ///
    /// # Errors
    /// When an S3 request fails or the time is up. The upload is then aborted, unless it was resumed.
    pub async fn finish(mut self, until: Instant) -> Result<Finished, VaultError> {
        let ending = async {
            if self.id.is_none() { self.put_whole().await } else { self.complete().await }
        };
        let time_is_up = |_| Err(VaultError::Service("stopped before the deadline".to_owned()));
        match timeout_at(until, ending).await.unwrap_or_else(time_is_up) {
            Ok(e_tag) => {
                self.id = None;
                let leftovers = self.listing.take();
                Ok(Finished::Created { size_bytes: self.size, e_tag, leftovers })
            }
            Err(VaultError::Conflict(_)) => {
                self.abort().await;
                Ok(Finished::Conflict)
            }
            Err(error) => {
                // A resumed upload has what other invocations made. The next one continues it.
                if !self.is_resumed {
                    self.abort().await;
                }
                Err(error)
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

    /// Returns the number of bytes written or copied.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
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
        let (segments, crc32) = self.part.take(&self.buffers);
        let put = self
            .vault
            .client
            .put_object()
            .bucket(&*self.vault.bucket)
            .key(&*self.key)
            .content_type("application/zip")
            .if_none_match("*")
            .checksum_crc32(encode_crc32(crc32))
            .body(ByteStream::new(body_of(segments)))
            .customize()
            .disable_payload_signing() // CRC32 and TLS protect the body at half the CPU time
            .send()
            .await?;
        Ok(put.e_tag)
    }

    /// Returns the ETag of the object.
    async fn complete(&mut self) -> Result<Option<String>, VaultError> {
        if self.part.size() > 0 {
            self.send_part()?;
        }
        self.wait_for_parts(0).await?;
        self.sent.sort_unstable_by_key(|part| part.part_number);
        let upload_id =
            self.upload_id().await.map_err(|error| VaultError::Service(error.to_string()))?;
        let completed = self
            .vault
            .client
            .complete_multipart_upload()
            .bucket(&*self.vault.bucket)
            .key(&*self.key)
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

    /// Waits until at most `max` parts are in flight.
    pub(super) async fn wait_for_parts(&mut self, max: usize) -> Result<(), VaultError> {
        while self.in_flight.len() > max {
            let Some(part) = self.in_flight.join_next().await else { break };
            self.add_sent(part.map_err(|error| VaultError::Service(error.to_string()))??);
        }
        Ok(())
    }

    fn add_sent(&mut self, sent: Option<SentPart>) {
        if let Some(SentPart { part, memory }) = sent {
            self.sent.push(part);
            self.in_flight_bytes -= memory;
        }
    }

    /// Returns the number of the next part.
    fn next_number(&mut self) -> Result<u16, VaultError> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(VaultError::Service(format!("the ZIP needs more than {MAX_PARTS} parts")));
        }
        Ok(self.parts)
    }

    /// Returns the id of the multipart upload. The first call creates the upload in a separate
    /// task, so that the abort of a part does not lose the id of an upload that S3 is creating.
    fn upload_id(&mut self) -> UploadId {
        if let Some(id) = &self.id {
            return id.clone();
        }
        let (vault, key) = (self.vault.clone(), self.key.clone());
        let creating =
            tokio::spawn(async move { vault.create_upload(&key).await }.in_current_span());
        let created = async move {
            match creating.await {
                Ok(result) => result.map_err(Arc::new),
                Err(error) => Err(Arc::new(VaultError::Service(error.to_string()))),
            }
        };
        let id = self.id.insert(created.boxed().shared()).clone();
        self.listing.start(&self.vault, &self.key, id.clone());
        id
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
        if self.is_resumed {
            return;
        }
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
    /// Waits for the id of an upload and aborts it. Without the wait, an upload that S3 is creating
    /// would be left over.
    async fn abort_once_created(&self, key: &str, upload_id: UploadId) {
        if let Ok(Ok(upload_id)) = timeout(ABORT_TIMEOUT, upload_id).await {
            self.abort_upload(key, &upload_id).await;
        }
    }

    async fn abort_upload(&self, key: &str, upload_id: &str) {
        let aborting = self
            .client
            .abort_multipart_upload()
            .bucket(&*self.bucket)
            .key(key)
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

    async fn create_upload(&self, key: &str) -> Result<Arc<str>, VaultError> {
        let created = self
            .client
            .create_multipart_upload()
            .bucket(&*self.bucket)
            .key(key)
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

    /// Returns the attempts that the SDK makes at a request.
    pub(super) fn attempts(&self) -> u32 {
        self.client.config().retry_config().map_or(1, RetryConfig::max_attempts)
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
        let room = ready!(this.poll_room(cx, bytes.len()))?;
        let taken = bytes.len().min(room);
        this.part.copy(&bytes[..taken], &this.buffers);
        this.size += taken as u64;
        this.send_while_filling().map_err(|error| this.fail(error))?;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
