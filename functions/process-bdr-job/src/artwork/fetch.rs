//! Fetches the artworks: many at a time, yielded in order, within a budget of bytes.
//!
//! Each fetch has two steps. *Opening* an artwork reveals its size; `window` limits how many are open
//! at once, which hides the latency of small ones. *Reading* it takes as many bytes of the budget as
//! the artwork has, and returns them once the artwork is written. Bytes are granted in the order of
//! the artworks: the next one to be written never waits for a later one, so the budget cannot
//! deadlock. An artwork larger than the whole budget is read alone.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, ready};
use futures_util::stream::{self, Stream, StreamExt};
use shared::vault::{ArtworkKey, OpenArtwork, Vault, VaultError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::source::Source;
use super::window::{Slot, Window};
use super::{MissingArtwork, PlannedArtwork, signature};
use crate::attempt::jittered;
use crate::memory::Memory;
use crate::missing::Missing;
use crate::remote::{Hosts, OpenRemote, Remote};

/// Artworks in either step at once. `window` admits fewer that are not yet read.
const MAX_AHEAD: usize = 256;
/// Reads of a vault object whose body breaks off. The SDK retries only up to the response's head.
const MAX_READS: u32 = 3;
/// Bytes of the budget that an artwork takes beside its file.
const OVERHEAD: u64 = 1024;

/// An artwork to write into the archive.
pub struct FetchedArtwork<'a> {
    /// Its plan.
    pub planned: PlannedArtwork<'a>,
    /// Its file.
    pub file: FetchedFile,
}

/// An artwork's file, and the part of the budget that it occupies until it is dropped.
pub struct FetchedFile {
    /// The whole file.
    pub bytes: Bytes,
    _budget: OwnedSemaphorePermit,
}

/// The source of artworks' files.
#[derive(Clone)]
pub struct Fetcher {
    vault: Vault,
    remote: Arc<Remote>,
    memory: Memory,
    extra_formats: Arc<HashSet<String>>,
}

/// An artwork whose size is known or, for some remote ones, bounded.
enum Opened {
    Vault(ArtworkKey, OpenArtwork),
    Remote {
        file: OpenRemote,
        /// The format that its signature must show.
        format: String,
    },
}

impl Opened {
    /// Returns the bytes of the budget to take: the size, or the limit for an unknown size, but never
    /// more than the whole budget, which could not be granted.
    fn share(&self, memory: &Memory) -> u64 {
        let size = match self {
            Self::Vault(_, opened) => opened.size(),
            Self::Remote { file, .. } => file.size().unwrap_or(memory.max_artwork_bytes),
        };
        (size + OVERHEAD).min(memory.fetch_budget)
    }
}

impl Fetcher {
    /// Returns a fetcher that reads from `vault` and through `remote`, within `memory`.
    #[must_use]
    pub fn new(vault: Vault, remote: Arc<Remote>, memory: Memory) -> Self {
        Self { vault, remote, memory, extra_formats: Arc::default() }
    }

    /// Accepts further file formats from the web (`EXTRA_FORMATS`).
    #[must_use]
    pub fn accepting(self, extra_formats: HashSet<String>) -> Self {
        Self { extra_formats: Arc::new(extra_formats), ..self }
    }

    /// Fetches what `plans` plan and yields every artwork, fetched or missing, in order. Remote
    /// artworks that are outstanding at `remote_stop_at` are missing.
    pub fn fetch<'a>(
        &self,
        plans: impl Iterator<Item = Result<PlannedArtwork<'a>, MissingArtwork<'a>>> + Send + 'a,
        remote_stop_at: Instant,
    ) -> impl Stream<Item = Result<FetchedArtwork<'a>, MissingArtwork<'a>>> + Send {
        let (opener, reader) = (self.clone(), self.clone());
        let budget = Arc::new(Semaphore::new(
            usize::try_from(self.memory.fetch_budget).unwrap_or(Semaphore::MAX_PERMITS),
        ));
        let hosts = Arc::new(Hosts::default());
        let window = Window::new(&self.memory);
        stream::iter(plans)
            // One after the other, in order: a slot of the window, and a turn at the artwork's host.
            .then(move |plan| {
                let (opener, hosts, window) = (opener.clone(), Arc::clone(&hosts), window.clone());
                async move {
                    let planned = plan?;
                    match opener.start_opening(&planned, &hosts, remote_stop_at, window).await {
                        Ok(opening) => Ok((planned, opening)),
                        Err(missing) => Err(planned.missing(missing)),
                    }
                }
            })
            .map(|started| async move {
                let (planned, opening) = started?;
                match joined(opening).await {
                    Ok(opened) => Ok((planned, opened)),
                    Err(missing) => Err(planned.missing(missing)),
                }
            })
            .buffered(MAX_AHEAD)
            // One after the other, in order: a share of the budget.
            .then(move |opened| {
                let (reader, budget) = (reader.clone(), Arc::clone(&budget));
                async move {
                    let (planned, (opened, slot)) = opened?;
                    Ok((planned, reader.start_reading(opened, slot, budget).await))
                }
            })
            .map(|started| match started {
                Ok((planned, reading)) => Either::Left(async move {
                    match joined(reading).await {
                        Ok(file) => Ok(FetchedArtwork { planned, file }),
                        Err(missing) => Err(planned.missing(missing)),
                    }
                }),
                Err(missing) => Either::Right(ready(Err(missing))),
            })
            .buffered(MAX_AHEAD)
    }

    /// Starts to open an artwork in a task of its own, which proceeds while the writer writes.
    async fn start_opening(
        &self,
        planned: &PlannedArtwork<'_>,
        hosts: &Hosts,
        remote_stop_at: Instant,
        window: Window,
    ) -> Result<AbortOnDropHandle<Result<(Opened, Slot), Missing>>, Missing> {
        let fetcher = self.clone();
        let format = planned.name.extension.clone();
        let mut slot = window.enter().await;
        Ok(match planned.source.clone() {
            Source::Vault(key) => spawn(async move {
                let opened = fetcher.vault.open(&key).await.map_err(vault_missing)?;
                fetcher.check_size(opened.size())?;
                let opened = Opened::Vault(key, opened);
                slot.set_size(opened.share(&fetcher.memory));
                Ok((opened, slot))
            }),
            Source::Remote(url) => {
                signature::accepted(&format, &self.extra_formats)?;
                let turn = hosts.turn(&url, remote_stop_at).await?;
                spawn(async move {
                    let file = fetcher.remote.open(url, turn).await?;
                    fetcher.check_size(file.size().unwrap_or(0))?;
                    let opened = Opened::Remote { file, format };
                    slot.set_size(opened.share(&fetcher.memory));
                    Ok((opened, slot))
                })
            }
        })
    }

    fn check_size(&self, size: u64) -> Result<(), Missing> {
        if size <= self.memory.max_artwork_bytes {
            return Ok(());
        }
        let detail = format!("{size} bytes, limit {}", self.memory.max_artwork_bytes);
        Err(Missing::too_large().with_detail(detail))
    }

    /// Takes the artwork's share of the budget and starts to read it in a task of its own.
    async fn start_reading(
        &self,
        opened: Opened,
        slot: Slot,
        budget: Arc<Semaphore>,
    ) -> AbortOnDropHandle<Result<FetchedFile, Missing>> {
        let max_bytes = self.memory.max_artwork_bytes;
        let share = u32::try_from(opened.share(&self.memory)).unwrap_or(u32::MAX);
        let fetcher = self.clone();
        match budget.acquire_many_owned(share).await {
            Ok(share) => spawn(async move {
                let bytes = match opened {
                    Opened::Vault(key, opened) => fetcher.read_vault(key, opened).await?,
                    Opened::Remote { file, format } => {
                        let bytes = file.read(max_bytes).await?;
                        signature::check(&format, &bytes)?;
                        bytes
                    }
                };
                // The connection is free; the next artwork reuses it.
                drop(slot);
                Ok(FetchedFile { bytes, _budget: share })
            }),
            // The semaphore is never closed.
            Err(closed) => spawn(async move { Err(unreadable(closed.to_string())) }),
        }
    }

    async fn read_vault(&self, key: ArtworkKey, opened: OpenArtwork) -> Result<Bytes, Missing> {
        let announced = opened.size();
        let mut result = opened.read().await;
        for read in 1..MAX_READS {
            let Err(VaultError::Body(detail)) = &result else { break };
            tracing::debug!(key = %key, detail, "reading an artwork again");
            tokio::time::sleep(jittered(Duration::from_millis(200) * read)).await;
            result = match self.vault.open(&key).await {
                Ok(opened) if opened.size() == announced => opened.read().await,
                Ok(_) => Err(VaultError::Body("its size changed between two reads".into())),
                Err(error) => Err(error),
            };
        }
        result.map_err(vault_missing)
    }
}

impl<'a> PlannedArtwork<'a> {
    fn missing(&self, missing: Missing) -> MissingArtwork<'a> {
        MissingArtwork { post: Ok(self.post), missing }
    }
}

fn vault_missing(error: VaultError) -> Missing {
    match error {
        VaultError::NotFound => Missing::permanent("This artwork's file was not found."),
        VaultError::Denied(detail) => {
            // Not the artwork's fault: the policy of the function or of the bucket is wrong.
            tracing::error!(detail, "the vault denied access; check the function's policy");
            unreadable(detail)
        }
        error => unreadable(error.to_string()),
    }
}

fn unreadable(detail: String) -> Missing {
    Missing::transient("This artwork's file could not be read.", detail)
}

fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> AbortOnDropHandle<T> {
    AbortOnDropHandle::new(tokio::spawn(task.in_current_span()))
}

/// Waits for a task. A task that panicked costs its artwork, not the request.
async fn joined<T>(task: AbortOnDropHandle<Result<T, Missing>>) -> Result<T, Missing> {
    task.await.unwrap_or_else(|error| Err(unreadable(error.to_string())))
}
