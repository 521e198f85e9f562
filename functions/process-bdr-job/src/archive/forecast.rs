//! Whether an attempt can end in time, where a large request cannot be cut into segments.
//!
//! A request that no attempt can end is better failed once than four times. But an artwork that does not
//! arrive, or S3 in trouble, makes only this attempt late. So the forecast compares what a whole attempt
//! needs with what it has: the time in which bytes moved so far, and the same pace for what is left. Waiting
//! does not count in it. Only artworks of the vault count: outstanding ones of the web become missing.

use std::time::Duration;

use shared::failure::Failure;
use tokio::time::Instant;

use crate::artwork::{Fetcher, PlannedArtwork, Source};
use crate::attempt::Attempt;
use crate::limits::TOO_LARGE;
use crate::load::{MissingPost, Post};

/// Time before an artwork that counts as time in which it moved, whatever its size.
const GRACE: Duration = Duration::from_secs(1);
/// Bytes for which another second counts: a hundredth of the usual pace of a function with 512 MB.
const SLOWEST_PER_SECOND: u64 = 1024 * 1024;
/// Minimum number of artworks from which a forecast is made.
const MIN_ARTWORKS: u64 = 20;
/// Minimum share of an attempt in which bytes moved, as a divisor: a quarter, of 15 minutes nearly four.
const MIN_SHARE: u32 = 4;
/// Artworks between two forecasts.
const STEP: u64 = 16;

/// Artworks, and their pixels in all frames, which say more about their sizes than their number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Number of artworks.
    pub artworks: u64,
    /// Number of pixels.
    pub pixels: u64,
}

/// Returns whether no attempt of `total` can end, when `done` took `moving`, without waits, and `left` is left.
///
/// The rest is forecast by the number of artworks and by their pixels, and the shorter forecast counts. It has
/// to exceed an attempt by a margin: at first, when a quarter of an attempt has moved bytes, by as much as an
/// attempt; later by less, down to a quarter of it.
#[must_use]
pub fn exceeds_attempt(total: Duration, moving: Duration, done: Work, left: Work) -> bool {
    if done.artworks < MIN_ARTWORKS || moving < total / MIN_SHARE || left.artworks == 0 {
        return false;
    }
    let (total, moving) = (total.as_millis(), moving.as_millis());
    let forecast = |done: u64, left: u64| moving * u128::from(left) / u128::from(done).max(1);
    let by_count = forecast(done.artworks, left.artworks);
    let by_pixels = forecast(done.pixels, left.pixels);
    let margin = total * total / 4 / moving.max(1);
    moving + by_count.min(by_pixels) > total + margin.clamp(total / 4, total)
}

/// Returns the part of the time before an artwork of `bytes` in which bytes moved at most.
#[must_use]
pub fn moved(time: Duration, bytes: u64) -> Duration {
    time.min(GRACE + Duration::from_millis(bytes.saturating_mul(1_000) / SLOWEST_PER_SECOND))
}

/// The forecast of an attempt, by the artworks that have arrived.
pub(super) struct Forecast<'a> {
    posts: &'a [Result<Post, MissingPost>],
    total: Duration,
    /// The arrival of the latest artwork.
    last: Instant,
    moving: Duration,
    done: Work,
    /// The artworks of the vault after each position; computed when first needed.
    left_after: Option<Vec<Work>>,
    /// The artworks up to this position have arrived, are missing, or are expected late.
    position: usize,
}

impl<'a> Forecast<'a> {
    pub(super) fn new(posts: &'a [Result<Post, MissingPost>], attempt: &Attempt) -> Self {
        Self {
            posts,
            total: attempt.stop_at().saturating_duration_since(attempt.begun_at),
            last: Instant::now(),
            moving: Duration::ZERO,
            done: Work::default(),
            left_after: None,
            position: 0,
        }
    }

    /// Adds an artwork that arrived, with its size in bytes.
    ///
    /// # Errors
    /// A permanent failure when no attempt can end.
    pub(super) fn add(
        &mut self,
        artwork: &PlannedArtwork<'_>,
        bytes: u64,
        fetcher: &Fetcher,
    ) -> Result<(), Failure> {
        let waited = self.pass(artwork.position);
        if matches!(artwork.source(), Source::Vault(_)) {
            self.moving += moved(waited, bytes);
            self.done.add(artwork.post);
        }
        if self.exceeds_attempt(fetcher) { Err(too_large()) } else { Ok(()) }
    }

    /// Passes a position, whose artwork may be missing. Returns the time since the latest one.
    pub(super) fn pass(&mut self, position: usize) -> Duration {
        let now = Instant::now();
        self.position = self.position.max(position);
        now - std::mem::replace(&mut self.last, now)
    }

    /// Returns whether no attempt can end.
    fn exceeds_attempt(&mut self, fetcher: &Fetcher) -> bool {
        // Most attempts never come this far.
        if self.moving < self.total / MIN_SHARE || !self.done.artworks.is_multiple_of(STEP) {
            return false;
        }
        let left_after = self.left_after.get_or_insert_with(|| left_after(fetcher, self.posts));
        let left = left_after.get(self.position).copied().unwrap_or_default();
        exceeds_attempt(self.total, self.moving, self.done, left)
    }
}

fn too_large() -> Failure {
    Failure::too_large(
        "the archive takes longer than an attempt; set LargeExports, or raise ProcessMemorySize",
        TOO_LARGE,
    )
}

impl Work {
    fn add(&mut self, post: &Post) {
        let side = |length: Option<i32>| {
            length.and_then(|it| u64::try_from(it).ok()).unwrap_or_default().max(1)
        };
        let frames = side(post.frame_count);
        let pixels = side(post.width).saturating_mul(side(post.height)).saturating_mul(frames);
        self.artworks += 1;
        self.pixels = self.pixels.saturating_add(pixels);
    }
}

/// Returns the artworks of the vault after each position.
fn left_after(fetcher: &Fetcher, posts: &[Result<Post, MissingPost>]) -> Vec<Work> {
    let mut of_vault = vec![false; posts.len()];
    for planned in fetcher.plan(posts).flatten() {
        of_vault[planned.position] = matches!(planned.source(), Source::Vault(_));
    }
    let mut left = Work::default();
    let mut after = vec![left; posts.len()];
    for (position, post) in posts.iter().enumerate().rev() {
        after[position] = left;
        if let (true, Ok(post)) = (of_vault[position], post) {
            left.add(post);
        }
    }
    after
}
