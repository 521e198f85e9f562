//! The artworks of the vault: opened many at a time, read and yielded in order.
//!
//! *Opening* an artwork reveals its size; `window` limits how many are open at once, which hides the
//! latency of small ones. *Reading* it takes as many bytes of the budget as the artwork has, and returns
//! them once the artwork is written. Large artworks are read in pieces (`streamed`). Within the lane, bytes
//! are granted in order, so no artwork waits for a later one of its lane. Across lanes, `order` stops holding artworks back after one second, so the
//! budget cannot deadlock.
//!
//! Errors of S3 are retried in place until the attempt stops. Exceptions: an object that is gone, too
//! large, in Glacier, or that S3 refuses to return is missing; a misconfigured vault or an object that
//! changed its size fails the attempt; on the last receive, what S3 has not returned in time is missing.

mod streamed;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{Either, ready};
use futures_util::stream::{self, Stream, StreamExt};
use shared::failure::Failure;
use shared::vault::{ArtworkKey, Chunk, OpenArtwork, Vault, VaultError};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::AbortOnDropHandle;

pub(crate) use streamed::Ahead;
pub use streamed::StreamedFile;

use super::budget::Part;
use super::copying::CopyTerms;
use super::pace::Response;
use super::window::{Slot, Window};
use super::{ArtworkFile, FetchedArtwork, NotFetched, PlannedArtwork, WholeFile, spawn};
use crate::attempt::{Backoff, full_jitter};
use crate::missing::{Missing, MissingCode};

/// Maximum artworks in each of the two steps. `window` sets a lower limit for artworks that are not yet
/// read.
const MAX_AHEAD: usize = 256;
/// Bytes of the budget that an artwork takes beside its file.
const OVERHEAD: u64 = 1024;
/// The first and the maximum delay before an artwork is requested again.
const RETRY_DELAYS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// The means to fetch artworks of the vault.
#[derive(Clone)]
pub(super) struct VaultLane {
    pub(super) vault: Vault,
    pub(super) max_bytes: u64,
    pub(super) window: Window,
    pub(super) budget: Part,
    /// The time after which artworks that S3 has not returned are missing; `None`: the attempt stops
    /// first.
    pub(super) stop_at: Option<Instant>,
    /// Whether a denial was logged: one line suffices for all artworks.
    pub(super) is_denial_logged: Arc<AtomicBool>,
    /// The turn to take bytes of the budget.
    pub(super) turn: Arc<Mutex<()>>,
    /// The terms on which S3 copies; `None`: it copies nothing.
    pub(super) copies: Option<CopyTerms>,
}

/// An artwork whose size is known and whose body is not yet read.
struct Opened {
    pub(super) file: OpenArtwork,
    pub(super) response: Response,
}

/// An artwork that is being read.
enum Reading {
    Whole(AbortOnDropHandle<Result<ArtworkFile, FetchError>>),
    Streamed(StreamedFile),
}

/// Why an artwork was not fetched.
enum FetchError {
    /// It is missing.
    Missing(Missing),
    /// The attempt cannot go on.
    Attempt(Failure),
}

impl VaultLane {
    /// Fetches `plans` and yields every artwork in order.
    pub(super) fn fetch<'a>(
        self,
        plans: impl Iterator<Item = (PlannedArtwork<'a>, ArtworkKey)> + Send + 'a,
    ) -> impl Stream<Item = Result<FetchedArtwork<'a>, NotFetched<'a>>> + Send {
        let (opening_lane, reading_lane) = (self.clone(), self);
        stream::iter(plans)
            // One after the other, in order: a slot of the window.
            .then(move |(planned, key)| {
                let lane = opening_lane.clone();
                async move {
                    let slot = lane.window.enter().await;
                    (planned, lane.start_opening(key, slot))
                }
            })
            .map(|(planned, opening)| async move { (planned, joined(opening).await) })
            .buffered(MAX_AHEAD)
            // One after the other, in order: a share of the budget.
            .then(move |(planned, result)| {
                let lane = reading_lane.clone();
                async move {
                    let reading = match result {
                        Ok(opened) => Ok(lane.start_reading(&planned, opened).await),
                        Err(error) => Err(error),
                    };
                    (planned, reading)
                }
            })
            .map(|(planned, reading)| match reading {
                Ok(Reading::Whole(reading)) => {
                    Either::Left(async move { (planned, joined(reading).await) })
                }
                Ok(Reading::Streamed(file)) => {
                    Either::Right(ready((planned, Ok(ArtworkFile::Streamed(file)))))
                }
                Err(error) => Either::Right(ready((planned, Err(error)))),
            })
            .buffered(MAX_AHEAD)
            .map(|(planned, read)| match read {
                Ok(file) => Ok(FetchedArtwork { planned, file }),
                Err(FetchError::Missing(missing)) => {
                    Err(NotFetched::Missing(planned.missing(missing)))
                }
                Err(FetchError::Attempt(failure)) => Err(NotFetched::Attempt(failure)),
            })
    }

    /// Starts to open an artwork in a task of its own, which proceeds while the writer writes.
    fn start_opening(
        &self,
        key: ArtworkKey,
        mut slot: Slot,
    ) -> AbortOnDropHandle<Result<(ArtworkKey, Opened, Slot), FetchError>> {
        let lane = self.clone();
        spawn(async move {
            let opened = lane.until_stop(lane.open(&key, &slot)).await?;
            opened.response.succeeded();
            slot.set_size(opened.file.size() + OVERHEAD);
            Ok((key, opened, slot))
        })
    }

    /// Takes the artwork's share of the budget and starts to read it in a task of its own.
    async fn start_reading(
        &self,
        planned: &PlannedArtwork<'_>,
        (key, opened, slot): (ArtworkKey, Opened, Slot),
    ) -> Reading {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        if let Some(version) = self.as_streamed(planned, &opened) {
            return Reading::Streamed(self.start_streaming((key, opened, slot), version, turn));
        }
        if slot.is_surplus() {
            // No later artwork needs it, and each idle connection keeps its buffers.
            opened.file.close_connection();
        }
        let lane = self.clone();
        let share = self.budget.take(opened.file.size() + OVERHEAD).await;
        Reading::Whole(spawn(async move {
            let (chunks, crc32) = lane.until_stop(lane.read(&key, opened, &slot)).await?;
            // The connection is free; the next artwork reuses it.
            drop(slot);
            Ok(ArtworkFile::Whole(WholeFile { chunks, crc32, _share: share }))
        }))
    }

    /// Requests an artwork until S3 returns it, or an error that a retry does not change.
    async fn open(&self, key: &ArtworkKey, slot: &Slot) -> Result<Opened, FetchError> {
        let mut backoff = Backoff::new(RETRY_DELAYS);
        loop {
            let permit = slot.permit().await;
            let error = match self.vault.open(key).await {
                Ok(file) => {
                    if let Err(missing) = self.check_size(file.size()) {
                        permit.succeeded();
                        return Err(missing.into());
                    }
                    return Ok(Opened { file, response: permit.opened() });
                }
                Err(error) => error,
            };
            match error {
                VaultError::NotFound => {
                    permit.succeeded();
                    return Err(Missing::permanent(MissingCode::NotFound).into());
                }
                VaultError::Archived => {
                    permit.succeeded();
                    return Err(Missing::permanent(MissingCode::Archived).into());
                }
                // The policy of the function or of the bucket is wrong. An operator would have to
                // change it, so the artwork is missing at once.
                VaultError::Denied(detail) => {
                    permit.succeeded();
                    if !self.is_denial_logged.swap(true, Ordering::Relaxed) {
                        tracing::error!(
                            detail,
                            "the vault denied access; check the function's policy"
                        );
                    }
                    return Err(Missing::transient(MissingCode::Unreadable, detail).into());
                }
                // For instance encrypted with a key that S3 does not have (SSE-C).
                VaultError::Rejected(detail) => {
                    permit.succeeded();
                    return Err(Missing::transient(MissingCode::Unreadable, detail).into());
                }
                VaultError::Misconfigured(_) => {
                    return Err(FetchError::Attempt(Failure::retry(
                        "failed to read the vault",
                        error,
                    )));
                }
                VaultError::Congested(_) | VaultError::Service(_) => permit.failed(),
                VaultError::Body(_) | VaultError::Conflict(_) => drop(permit),
            }
            tracing::debug!(key = %key, error = %error, "requesting an artwork again");
            sleep(full_jitter(backoff.next_delay())).await;
        }
    }

    /// Reads an artwork whole. Returns its chunks and its CRC32. The SDK retries only up to the head of a response.
    async fn read(
        &self,
        key: &ArtworkKey,
        Opened { file, mut response }: Opened,
        slot: &Slot,
    ) -> Result<(Vec<Chunk>, u32), FetchError> {
        let announced = file.size();
        let mut backoff = Backoff::new(RETRY_DELAYS);
        let mut result = file.read().await;
        loop {
            let error = match result {
                Ok(read) => return Ok(read),
                Err(error) => error,
            };
            response.failed();
            tracing::debug!(key = %key, error = %error, "reading an artwork again");
            sleep(full_jitter(backoff.next_delay())).await;
            let again = self.open(key, slot).await?;
            let size = again.file.size();
            if size != announced {
                // The share of the budget no longer fits.
                return Err(FetchError::Attempt(Failure::retry(
                    "failed to read an artwork",
                    format!("the object changed from {announced} to {size} bytes"),
                )));
            }
            response = again.response;
            result = again.file.read().await;
            if result.is_ok() {
                response.succeeded();
            }
        }
    }

    fn check_size(&self, size: u64) -> Result<(), Missing> {
        check_size(size, self.max_bytes)
    }

    /// Bounds a step by [`VaultLane::stop_at`].
    async fn until_stop<T>(
        &self,
        step: impl Future<Output = Result<T, FetchError>>,
    ) -> Result<T, FetchError> {
        let Some(stop_at) = self.stop_at else { return step.await };
        timeout_at(stop_at, step).await.unwrap_or_else(|_| {
            let detail = "the vault did not return it before the deadline of the last attempt";
            Err(Missing::transient(MissingCode::Unreadable, detail).into())
        })
    }
}

/// Checks a size against `MAX_ARTWORK_BYTES`.
pub(super) fn check_size(size: u64, max_bytes: u64) -> Result<(), Missing> {
    if size <= max_bytes {
        return Ok(());
    }
    let detail = format!("{size} bytes, limit {max_bytes}");
    Err(Missing::permanent(MissingCode::TooLarge).with_detail(detail))
}

impl From<Missing> for FetchError {
    fn from(missing: Missing) -> Self {
        Self::Missing(missing)
    }
}

/// Waits for a task. If the task panicked, its artwork is missing and the attempt continues.
async fn joined<T>(task: AbortOnDropHandle<Result<T, FetchError>>) -> Result<T, FetchError> {
    task.await.unwrap_or_else(|error| {
        Err(Missing::transient(MissingCode::Unreadable, error.to_string()).into())
    })
}
