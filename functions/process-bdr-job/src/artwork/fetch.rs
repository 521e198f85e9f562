//! Fetches the artworks in two lanes: the vault's in order (`vault_lane`), the web's as they arrive
//! (`web_lane`). The lanes do not wait for each other; `order` merges them.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use shared::aws::EarlyConnections;
use shared::failure::Failure;
use shared::vault::{ArtworkKey, Chunk, PartSizes, Vault};
use tokio::sync::mpsc;
use tokio::time::Instant;
use url::Url;
use zip_to_s3::plan::Prefer;

use super::budget::{Budget, Share};
use super::copying::CopyTerms;
use super::format::Formats;
use super::order::in_order;
use super::source::{Source, VaultUrls};
use super::vault_lane::{StreamedFile, VaultLane};
use super::web_lane::WebLane;
use super::window::Window;
use super::{
    MissingArtwork, Names, PlannedArtwork, Requested, has_remote, plan, plan_next, plan_part,
};
use crate::load::{MissingPost, Post};
use crate::memory::Memory;
use crate::remote::Remote;

/// An artwork to write into the archive.
pub struct FetchedArtwork<'a> {
    /// Its plan.
    pub planned: PlannedArtwork<'a>,
    /// Its file.
    pub file: ArtworkFile,
}

/// The file of an artwork.
pub enum ArtworkFile {
    /// The whole file.
    Whole(WholeFile),
    /// A file that is read while it is written.
    Streamed(StreamedFile),
}

/// A file that was fetched before it is written.
pub struct WholeFile {
    /// Its bytes.
    pub chunks: Vec<Chunk>,
    /// The CRC32 of them all.
    pub crc32: u32,
    /// The part of the budget that it occupies until it is dropped.
    pub(super) _share: Share,
}

impl WholeFile {
    /// Returns its size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum()
    }
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
    copies: Option<CopyTerms>,
}

impl Fetcher {
    /// Returns a fetcher that reads from `vault` and through `remote`, within `memory`.
    #[must_use]
    pub fn new(vault: Vault, remote: Arc<Remote>, memory: Memory) -> Self {
        let (formats, vault_urls) = (Formats::default(), VaultUrls::default());
        Self { vault, remote, memory, formats, vault_urls, copies: None }
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

    /// Lets S3 copy the ends of large artworks on these terms.
    #[must_use]
    pub fn copying(self, terms: CopyTerms) -> Self {
        Self { copies: Some(terms), ..self }
    }

    /// Returns the maximum size of a deflated document in bytes.
    pub(crate) fn max_document_bytes(&self) -> usize {
        usize::try_from(self.memory.max_document_bytes).unwrap_or(usize::MAX)
    }

    /// Returns the sizes of the parts of the upload.
    pub(crate) fn part_sizes(&self) -> PartSizes {
        let memory = usize::try_from(self.memory.part_memory).unwrap_or(usize::MAX);
        PartSizes::new(memory, self.copies.map_or(Prefer::default(), |terms| terms.prefer()))
    }

    /// Plans each post in order.
    pub(crate) fn plan<'a>(
        &self,
        posts: &'a [Result<Post, MissingPost>],
    ) -> impl Iterator<Item = Result<PlannedArtwork<'a>, MissingArtwork<'a>>> + Send {
        plan(posts, self.vault_urls.clone(), self.formats.clone())
    }

    /// Plans each post of the next page, after pages whose names are in `names`.
    pub(crate) fn plan_next<'a>(
        &self,
        posts: &'a [Result<Post, MissingPost>],
        names: &'a mut Names,
    ) -> impl Iterator<Item = Result<PlannedArtwork<'a>, MissingArtwork<'a>>> + Send {
        plan_next(posts, names, self.vault_urls.clone(), self.formats.clone())
    }

    /// Opens the connections for the first of `artworks` artworks in the background.
    pub(crate) async fn open_connections(&self, artworks: usize) -> Option<EarlyConnections> {
        let count = artworks.min(Window::max_open_at_first(&self.memory));
        self.vault.open_connections(count).await
    }

    /// Returns the window for one request.
    #[must_use]
    pub fn window(&self) -> Window {
        Window::new(&self.memory)
    }

    /// Fetches the artworks of `posts` and yields each once. Fetched ones follow the order of the request,
    /// except web artworks that arrive late; missing ones are yielded at once.
    pub fn fetch<'a>(
        &self,
        posts: &'a [Result<Post, MissingPost>],
        window: Window,
        stop: StopTimes,
    ) -> impl Stream<Item = Result<FetchedArtwork<'a>, NotFetched<'a>>> + Send {
        self.fetch_part(posts.into(), window, stop)
    }

    /// Fetches the artworks of an archive, or of a segment of one, as [`Fetcher::fetch`].
    pub(crate) fn fetch_part<'a>(
        &self,
        requested: Requested<'a>,
        window: Window,
        stop: StopTimes,
    ) -> impl Stream<Item = Result<FetchedArtwork<'a>, NotFetched<'a>>> + Send {
        let has_remote = has_remote(requested.posts, &self.vault_urls);
        let budget = Budget::new(&self.memory, has_remote);
        let (to_web, for_web) = mpsc::unbounded_channel();
        let (to_missing, for_missing) = mpsc::unbounded_channel();
        let (formats, vault_urls) = (self.formats.clone(), self.vault_urls.clone());
        let planned = move || plan_part(requested, vault_urls.clone(), formats.clone());
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
            turn: Arc::default(),
            copies: self.copies,
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
        let crc32 = crc32fast::hash(&bytes);
        let chunks = vec![Chunk { bytes, crc32 }];
        Self { planned, file: ArtworkFile::Whole(WholeFile { chunks, crc32, _share: share }) }
    }

    /// Returns the size of the file in bytes.
    pub(crate) fn size(&self) -> u64 {
        match &self.file {
            ArtworkFile::Whole(file) => file.size(),
            ArtworkFile::Streamed(file) => file.version().size,
        }
    }
}
