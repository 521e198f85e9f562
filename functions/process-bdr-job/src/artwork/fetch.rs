//! Fetching the artworks: many at a time, handed over in order, within a budget of bytes.
//!
//! Each fetch has two steps. *Opening* it tells its size; as many are opened at once as is worth it
//! (`window`), which hides the latency of small ones. *Reading* it takes as many bytes of the budget
//! as the artwork is large, and gives them back once it has been written. Bytes are granted strictly
//! in the order of the artworks: the next one to be written never waits for one behind it, so the
//! budget cannot deadlock. An artwork larger than the whole budget is read alone.

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
use super::{Missing, Plan, signature};
use crate::memory::Memory;
use crate::remote::{Hosts, OpenRemote, Remote, Turn};

/// Artworks in either step at once, at most; of those that have not been read yet `window` keeps to
/// fewer.
const AHEAD: usize = 256;
/// Times an object of the vault is read when its body breaks off; the SDK itself retries only up
/// to the head of the answer.
const READS: u32 = 3;
/// What every artwork counts for beside its bytes.
const OVERHEAD: u64 = 1024;

/// An artwork's file, and the part of the budget it occupies until it is dropped.
pub struct FetchedFile {
    /// The whole file.
    pub bytes: Bytes,
    _budget: OwnedSemaphorePermit,
}

/// Fetches artworks.
#[derive(Clone)]
pub struct Fetcher {
    vault: Vault,
    remote: Arc<Remote>,
    memory: Memory,
    extra_formats: Arc<HashSet<String>>,
}

/// An artwork whose size is known, or, for some remote ones, bounded.
enum Opened {
    Vault(ArtworkKey, OpenArtwork),
    /// With the format it must turn out to have.
    Remote(OpenRemote, String),
}

impl Opened {
    /// The bytes of the budget that it takes: its size, or, unknown, as large as it may become. More than
    /// all of them could never be had.
    fn share(&self, memory: &Memory) -> u64 {
        let size = match self {
            Self::Vault(_, opened) => opened.size(),
            Self::Remote(opened, _) => opened.size().unwrap_or(memory.max_artwork_bytes),
        };
        (size + OVERHEAD).min(memory.fetch_budget)
    }
}

impl Fetcher {
    /// Fetches from this vault and through this client, within `memory`.
    #[must_use]
    pub fn new(vault: Vault, remote: Arc<Remote>, memory: Memory) -> Self {
        Self { vault, remote, memory, extra_formats: Arc::default() }
    }

    /// The same, accepting further file formats from the web (`EXTRA_FORMATS`).
    #[must_use]
    pub fn accepting(self, extra_formats: HashSet<String>) -> Self {
        Self { extra_formats: Arc::new(extra_formats), ..self }
    }

    /// Fetches everything in `plans` that can be, and yields every plan with what came of it, in
    /// order. Remote artworks still outstanding at `remote_stop_at` are missing.
    pub fn fetch<'a>(
        &self,
        plans: impl Iterator<Item = Plan<'a>> + Send + 'a,
        remote_stop_at: Instant,
    ) -> impl Stream<Item = (Plan<'a>, Result<FetchedFile, Missing>)> + Send {
        let (first, second) = (self.clone(), self.clone());
        let budget = Arc::new(Semaphore::new(
            usize::try_from(self.memory.fetch_budget).unwrap_or(Semaphore::MAX_PERMITS),
        ));
        let hosts = Arc::new(Hosts::default());
        let window = Window::new(&self.memory);
        stream::iter(plans)
            // In order, one after the other: a place in the window, and a turn at the artwork's host.
            .then(move |plan| {
                let (fetcher, hosts, window) = (first.clone(), Arc::clone(&hosts), window.clone());
                async move {
                    let opening = fetcher.start(&plan, &hosts, remote_stop_at, window).await;
                    (plan, opening)
                }
            })
            .map(|(plan, opening)| async move {
                let opened = match opening {
                    Ok(opening) => joined(opening).await,
                    Err(missing) => Err(missing),
                };
                (plan, opened)
            })
            .buffered(AHEAD)
            // In order, one after the other: a share of the budget.
            .then(move |(plan, opened)| {
                let (fetcher, budget) = (second.clone(), Arc::clone(&budget));
                async move {
                    let reading = match opened {
                        Ok((opened, place)) => {
                            Ok(fetcher.start_reading(opened, place, budget).await)
                        }
                        Err(missing) => Err(missing),
                    };
                    (plan, reading)
                }
            })
            .map(|(plan, reading)| match reading {
                Ok(reading) => Either::Left(async move { (plan, joined(reading).await) }),
                Err(missing) => Either::Right(ready((plan, Err(missing)))),
            })
            .buffered(AHEAD)
    }

    /// Begins to open an artwork, in a task of its own: it goes on while the writer writes.
    async fn start(
        &self,
        plan: &Plan<'_>,
        hosts: &Hosts,
        remote_stop_at: Instant,
        window: Window,
    ) -> Result<AbortOnDropHandle<Result<(Opened, Slot), Missing>>, Missing> {
        let planned = match plan {
            Plan::Fetch(planned) => planned,
            Plan::Missing(_, missing) | Plan::NoSuchPost(_, missing) => return Err(missing.clone()),
        };
        let fetcher = self.clone();
        let (source, format) = (planned.source.clone(), planned.packed.extension.clone());
        let mut place = window.enter().await;
        Ok(match source {
            Source::Vault(key) => spawn(async move {
                let opened = fetcher.open_vault(key).await?;
                place.is_of(opened.share(&fetcher.memory));
                Ok((opened, place))
            }),
            Source::Remote(url) => {
                signature::accepted(&format, &self.extra_formats)?;
                let turn = hosts.turn(&url, remote_stop_at).await?;
                spawn(async move {
                    let opened = fetcher.open_remote(url, format, turn).await?;
                    place.is_of(opened.share(&fetcher.memory));
                    Ok((opened, place))
                })
            }
        })
    }

    async fn open_vault(&self, key: ArtworkKey) -> Result<Opened, Missing> {
        let opened = self.vault.open(&key).await.map_err(vault_missing)?;
        self.check_size(opened.size())?;
        Ok(Opened::Vault(key, opened))
    }

    async fn open_remote(
        &self,
        url: url::Url,
        format: String,
        turn: Turn,
    ) -> Result<Opened, Missing> {
        let opened = self.remote.open(url, turn).await?;
        self.check_size(opened.size().unwrap_or(0))?;
        Ok(Opened::Remote(opened, format))
    }

    fn check_size(&self, size: u64) -> Result<(), Missing> {
        if size <= self.memory.max_artwork_bytes {
            return Ok(());
        }
        let detail = format!("{size} bytes, limit {}", self.memory.max_artwork_bytes);
        Err(too_large().with_detail(detail))
    }

    /// Takes the artwork's share of the budget and begins to read it.
    async fn start_reading(
        &self,
        opened: Opened,
        place: Slot,
        budget: Arc<Semaphore>,
    ) -> AbortOnDropHandle<Result<FetchedFile, Missing>> {
        let largest = self.memory.max_artwork_bytes;
        let share = u32::try_from(opened.share(&self.memory)).unwrap_or(u32::MAX);
        let fetcher = self.clone();
        match budget.acquire_many_owned(share).await {
            Ok(share) => spawn(async move {
                let bytes = match opened {
                    Opened::Vault(key, opened) => fetcher.read_vault(key, opened).await?,
                    Opened::Remote(opened, format) => {
                        let bytes = opened.read(largest).await?;
                        signature::check(&format, &bytes)?;
                        bytes
                    }
                };
                // Its connection is free: who is let in next need not open another.
                drop(place);
                Ok(FetchedFile { bytes, _budget: share })
            }),
            // Nobody closes this semaphore.
            Err(closed) => spawn(async move { Err(interrupted(closed.to_string())) }),
        }
    }

    async fn read_vault(&self, key: ArtworkKey, opened: OpenArtwork) -> Result<Bytes, Missing> {
        let announced = opened.size();
        let mut result = opened.read().await;
        for again in 1..READS {
            let Err(VaultError::Body(detail)) = &result else { break };
            tracing::debug!(key = %key, detail, "reading an artwork again");
            tokio::time::sleep(jittered(Duration::from_millis(200) * again)).await;
            result = match self.vault.open(&key).await {
                Ok(opened) if opened.size() == announced => opened.read().await,
                Ok(_) => Err(VaultError::Body("its size changed while it was read".into())),
                Err(error) => Err(error),
            };
        }
        result.map_err(vault_missing)
    }
}

/// A delay of half to all of `full`.
pub(crate) fn jittered(full: Duration) -> Duration {
    full.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// What is said of an artwork over the limit.
pub(crate) fn too_large() -> Missing {
    Missing::permanent("This artwork's file is too large.")
}

fn vault_missing(error: VaultError) -> Missing {
    match error {
        VaultError::NotFound => Missing::permanent("This artwork's file was not found."),
        VaultError::Denied(detail) => {
            // Not the artwork's fault: the function's policy or the bucket's is wrong.
            tracing::error!(detail, "access to the vault was denied; check the function's policy");
            interrupted(detail)
        }
        error => interrupted(error.to_string()),
    }
}

fn interrupted(detail: String) -> Missing {
    Missing::transient("This artwork's file could not be read.", detail)
}

fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> AbortOnDropHandle<T> {
    AbortOnDropHandle::new(tokio::spawn(task.in_current_span()))
}

/// The result of a task. One that panicked fails its artwork, not the request.
async fn joined<T>(task: AbortOnDropHandle<Result<T, Missing>>) -> Result<T, Missing> {
    task.await.unwrap_or_else(|error| Err(interrupted(error.to_string())))
}
