//! Fetches the artworks in two lanes: the vault's in order (`vault_lane`), the web's as they arrive
//! (`web_lane`). The lanes do not wait for each other; `order` merges them.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use shared::failure::Failure;
use shared::vault::{ArtworkKey, Vault};
use tokio::sync::mpsc;
use tokio::time::Instant;
use url::Url;

use super::budget::{Budget, Share};
use super::format::Formats;
use super::order::in_order;
use super::source::{Source, VaultUrls};
use super::vault_lane::VaultLane;
use super::web_lane::WebLane;
use super::window::Window;
use super::{MissingArtwork, PlannedArtwork, has_remote, plan};
use crate::load::{MissingPost, Post};
use crate::memory::Memory;
use crate::remote::Remote;

/// An artwork to write into the archive.
pub struct FetchedArtwork<'a> {
    /// Its plan.
    pub planned: PlannedArtwork<'a>,
    /// Its whole file.
    pub bytes: Bytes,
    /// The part of the budget that it occupies until it is dropped.
    _share: Share,
}

/// An artwork that was not fetched.
pub enum NotFetched<'a> {
    /// It is missing.
    Missing(MissingArtwork<'a>),
    /// The attempt cannot go on.
    Attempt(Failure),
}

/// The times at which outstanding artworks become missing.
#[derive(Debug, Clone, Copy)]
pub struct StopTimes {
    /// For artworks of the vault; `None`: the attempt stops first, and is retried as a whole.
    pub vault: Option<Instant>,
    /// For artworks of the web.
    pub web: Instant,
}

/// The source of artworks' files.
#[derive(Clone)]
pub struct Fetcher {
    vault: Vault,
    remote: Arc<Remote>,
    memory: Memory,
    formats: Formats,
    vault_urls: VaultUrls,
}

impl Fetcher {
    /// Returns a fetcher that reads from `vault` and through `remote`, within `memory`.
    #[must_use]
    pub fn new(vault: Vault, remote: Arc<Remote>, memory: Memory) -> Self {
        let (formats, vault_urls) = (Formats::default(), VaultUrls::default());
        Self { vault, remote, memory, formats, vault_urls }
    }

    /// Accepts these file formats instead of the built-in ones.
    #[must_use]
    pub fn accepting(self, formats: Formats) -> Self {
        Self { formats, ..self }
    }

    /// Reads URLs of these prefixes from the vault (`VAULT_URL_PREFIXES`).
    #[must_use]
    pub fn publishing(self, vault_urls: VaultUrls) -> Self {
        Self { vault_urls, ..self }
    }

    /// Returns the maximum size of a deflated document in bytes.
    pub(crate) fn max_document_bytes(&self) -> usize {
        usize::try_from(self.memory.max_document_bytes).unwrap_or(usize::MAX)
    }

    /// Returns the window for one request.
    pub(crate) fn window(&self) -> Window {
        Window::new(&self.memory)
    }

    /// Fetches the artworks of `posts` and yields each once. Fetched ones follow the order of the request,
    /// except web artworks that arrive late; missing ones are yielded at once.
    pub(crate) fn fetch<'a>(
        &self,
        posts: &'a [Result<Post, MissingPost>],
        window: Window,
        stop: StopTimes,
    ) -> impl Stream<Item = Result<FetchedArtwork<'a>, NotFetched<'a>>> + Send {
        let has_remote = has_remote(posts, &self.vault_urls);
        let budget = Budget::new(&self.memory, has_remote);
        let (to_web, for_web) = mpsc::unbounded_channel();
        let (to_missing, for_missing) = mpsc::unbounded_channel();
        let (formats, vault_urls) = (self.formats.clone(), self.vault_urls.clone());
        let planned = move || plan(posts, vault_urls.clone(), formats.clone());
        if has_remote {
            // All at once: the vault's lane may take minutes to reach the last of them. The receivers
            // outlive this function.
            for planned in planned().flatten() {
                if let Route::Web(planned, url) = planned.route() {
                    let _ = to_web.send((planned, url));
                }
            }
        }
        drop(to_web);
        let mut plans = planned();
        let mut to_missing = Some(to_missing);
        // The vault's lane drives the plans; missing artworks leave it here.
        let vault_plans = std::iter::from_fn(move || {
            let sender = to_missing.as_ref()?;
            for plan in plans.by_ref() {
                match plan.map(PlannedArtwork::route) {
                    Ok(Route::Vault(planned, key)) => return Some((planned, key)),
                    Ok(Route::Web(..)) => {}
                    Err(missing) => {
                        let _ = sender.send(missing);
                    }
                }
            }
            // The stream of missing artworks ends with its sender.
            to_missing = None;
            None
        });
        let vault = VaultLane {
            vault: self.vault.clone(),
            max_bytes: self.memory.max_artwork_bytes,
            window,
            budget: budget.vault().clone(),
            stop_at: stop.vault,
            is_denial_logged: Arc::default(),
        };
        let web = WebLane::new(
            Arc::clone(&self.remote),
            for_web,
            budget.web().clone(),
            self.memory.max_artwork_bytes,
            stop.web,
        );
        let missing = stream::unfold(for_missing, async |mut for_missing| {
            let missing = for_missing.recv().await?;
            Some((Err(NotFetched::Missing(missing)), for_missing))
        });
        let others = stream::select(missing, web.fetch());
        // In turn: a lane that always has an artwork ready must not keep the other from being polled.
        in_order(stream::select(vault.fetch(vault_plans), others))
    }
}

/// The lane of an artwork.
enum Route<'a> {
    Vault(PlannedArtwork<'a>, ArtworkKey),
    Web(PlannedArtwork<'a>, Url),
}

impl<'a> PlannedArtwork<'a> {
    fn route(self) -> Route<'a> {
        match self.source.clone() {
            Source::Vault(key) => Route::Vault(self, key),
            Source::Remote(url) => Route::Web(self, url),
        }
    }
}

impl<'a> FetchedArtwork<'a> {
    pub(super) fn new(planned: PlannedArtwork<'a>, bytes: Bytes, share: Share) -> Self {
        Self { planned, bytes, _share: share }
    }
}
