//! Sends parts: while they fill, or once they are full.
//!
//! A part that is sent while it fills is complete in S3 soon after its last byte, so its memory is free sooner. Its
//! size is announced, so it must fill. The first part and parts that fill slowly are sent once they are complete. So is
//! a part whose early request fails, for whatever reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_s3::types::CompletedPart;
use tokio::time::Instant;
use tracing::Instrument;
use zip_to_s3::s3::{self, PartBytes, with_retries};

use super::sizes::EndedPart;
use super::{MAX_PARTS, Upload};
use crate::vault::{Vault, VaultError};

/// A part is sent while it fills if the one before it took at most this time to fill. S3 closes a connection on which
/// it receives nothing for 20 s (error code `RequestTimeout`), and a request has 30 s in all (`aws::time_limits`).
const MAX_FILL_TIME: Duration = Duration::from_secs(5);
/// The writer is slowed down by the memory for parts if it waits longer than this share of the time that a part takes
/// to fill.
const NOTICED_WAIT: u32 = 20;

/// A part that S3 has.
pub(super) struct SentPart {
    pub(super) part: CompletedPart,
    /// The memory that it took, in bytes.
    pub(super) memory: usize,
}

/// The current part, beside its bytes.
pub(super) struct Filling {
    since: Instant,
    /// The time that the writer had waited before.
    waited_before: Duration,
    /// Whether it is sent while it fills.
    is_sent: bool,
}

impl Default for Filling {
    fn default() -> Self {
        Self { since: Instant::now(), waited_before: Duration::ZERO, is_sent: false }
    }
}

/// Whether S3 refuses parts that are sent while they fill, as far as this process knows.
#[derive(Default)]
pub(in crate::vault) struct FillingParts {
    are_refused: AtomicBool,
}

impl FillingParts {
    fn refuse(&self, error: &s3::Error) {
        if !self.are_refused.swap(true, Ordering::Relaxed) {
            tracing::info!(
                error = %error,
                "S3 does not accept parts that are sent while they fill; sending full parts from now on"
            );
        }
    }
}

impl Upload {
    /// Begins the next part.
    pub(super) fn begin_part(&mut self) {
        self.limits = self.next_limits();
        self.filling = Filling { waited_before: self.waited(), ..Filling::default() };
    }

    /// Starts a task that sends the current part while it fills, if it has bytes to send and is expected to fill
    /// soon, as the part before it. The first part may be a whole object. Completes a part that is full, so that its
    /// request does not wait for the next bytes.
    pub(super) fn send_while_filling(&mut self) -> Result<(), VaultError> {
        let are_refused = || self.vault.filling_parts.are_refused.load(Ordering::Relaxed);
        let missing = self.limits.size.saturating_sub(self.part.size());
        if self.filling.is_sent {
            return if missing == 0 { self.send_part() } else { Ok(()) };
        }
        if !self.fills_soon
            || self.expected_size < self.size + missing as u64
            || self.parts == MAX_PARTS
            || self.part.bytes().segments() == 0
            || are_refused()
        {
            return Ok(());
        }
        self.filling.is_sent = true;
        let (bytes, size) = (self.part.bytes().clone(), self.limits.size);
        self.send(self.parts + 1, bytes, Some(size));
        Ok(())
    }

    /// Completes the current part, and starts a task that sends it unless one does already.
    pub(super) fn send_part(&mut self) -> Result<(), VaultError> {
        let number = self.next_number()?;
        let size = self.part.size();
        self.in_flight_bytes += size;
        let bytes = self.part.complete(&self.buffers);
        self.end_wait();
        let Filling { since, waited_before, is_sent } = std::mem::take(&mut self.filling);
        if !is_sent {
            self.send(number, bytes, None);
        }
        let (time, waited) = (since.elapsed(), self.waited().saturating_sub(waited_before));
        let is_waited_for = waited > time / NOTICED_WAIT;
        self.last = Some(EndedPart { size: self.limits.size, is_waited_for });
        self.fills_soon = size == self.limits.size && time <= MAX_FILL_TIME;
        Ok(())
    }

    /// Starts a task that sends a part: while it fills, if its size is known.
    fn send(&mut self, number: u16, bytes: PartBytes, size: Option<usize>) {
        let (vault, key, upload_id) = (self.vault.clone(), self.key.clone(), self.upload_id());
        let sending = async move {
            let id = upload_id.await.map_err(|error| VaultError::Service(error.to_string()))?;
            vault.send_part(&key, &id, number, &bytes, size).await
        };
        self.in_flight.spawn(sending.in_current_span());
    }
}

impl Vault {
    /// Sends a part. Returns `None` if it is withdrawn.
    async fn send_part(
        &self,
        key: &Arc<str>,
        upload_id: &str,
        number: u16,
        bytes: &PartBytes,
        size: Option<usize>,
    ) -> Result<Option<SentPart>, VaultError> {
        let (bucket, lean) = (&*self.bucket, &self.lean);
        let mut refusal = None;
        if let Some(memory) = size {
            let size = memory as u64;
            let sending = lean.upload_filling_part(bucket, key, upload_id, number, size, bytes);
            // Boxed: the future has kilobytes, and two of them would stay with the task.
            match Box::pin(sending).await {
                Ok(part) => return Ok(Some(SentPart { part: part.completed(), memory })),
                Err(error) => {
                    tracing::debug!(number, error = %error, "sending the part again when it is complete");
                    refusal = Some(error).filter(is_refusal);
                }
            }
        }
        let Some((segments, crc32)) = bytes.completed().await else { return Ok(None) };
        let memory = segments.iter().map(bytes::Bytes::len).sum();
        let send = || lean.upload_part(bucket, key, upload_id, number, segments.clone(), crc32);
        let part = with_retries(self.attempts(), send).await?;
        if let Some(error) = refusal {
            self.filling_parts.refuse(&error);
        }
        Ok(Some(SentPart { part: part.completed(), memory }))
    }
}

/// Returns whether S3 did not accept the framing, if it accepts the same part without it.
fn is_refusal(error: &s3::Error) -> bool {
    // Bytes that change on their way, credentials and the clock.
    const OTHER_CAUSES: [&str; 5] =
        ["BadDigest", "IncompleteBody", "ExpiredToken", "InvalidToken", "RequestTimeTooSkewed"];
    let is_final = |status| matches!(status, 400..=499 | 501);
    let has_other_cause = error.code().is_some_and(|code| OTHER_CAUSES.contains(&code));
    error.kind() == s3::ErrorKind::Unexpected
        || error.status().is_some_and(is_final) && !error.is_transient() && !has_other_cause
}
