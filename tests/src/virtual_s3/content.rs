//! Contents that need no memory: artworks that are made while they are sent, and bodies of which only size
//! and CRC32 are kept.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use crc32fast::Hasher;

/// Bytes that every artwork consists of, from an offset on and repeated.
static NOISE: LazyLock<Bytes> = LazyLock::new(|| {
    // A linear congruential generator (Knuth, MMIX).
    let next = |n: &u64| {
        Some(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    };
    let numbers = std::iter::successors(Some(1), next).map(|n: u64| n.to_be_bytes()[0]);
    numbers.take(NOISE_SIZE).collect()
});
const NOISE_SIZE: usize = 1 << 20;
/// Number of different contents of one size, so that each CRC32 is computed once.
const CONTENTS: u64 = 16;

/// An artwork, described completely by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MadeUp {
    /// Size in bytes.
    pub size: u64,
    seed: u64,
}

impl MadeUp {
    /// Returns the key of the `number`-th artwork of this size.
    #[must_use]
    pub fn key(number: u64, size: u64) -> String {
        format!("made-up/{size}/{number}.png")
    }

    /// Returns the artwork with this key, if it is the key of one.
    pub(super) fn of(key: &str) -> Option<Self> {
        let (size, number) = key.strip_prefix("made-up/")?.strip_suffix(".png")?.split_once('/')?;
        let number: u64 = number.parse().ok()?;
        Some(Self { size: size.parse().ok()?, seed: number % CONTENTS })
    }

    /// Returns bytes of the content.
    pub(super) fn bytes(self, range: Range<u64>) -> impl Iterator<Item = Bytes> + Send + 'static {
        let start = range.start + self.seed * (NOISE_SIZE as u64 / CONTENTS);
        let mut at = usize::try_from(start).unwrap() % NOISE_SIZE;
        let mut left = usize::try_from(range.end - range.start).unwrap();
        std::iter::from_fn(move || {
            let size = left.min(NOISE_SIZE - at);
            let chunk = NOISE.slice(at..at + size);
            (at, left) = ((at + size) % NOISE_SIZE, left - size);
            (size > 0).then_some(chunk)
        })
    }

    /// Returns the CRC32 of the content.
    pub(super) fn crc32(self) -> u32 {
        let mut hasher = Hasher::new();
        self.bytes(0..self.size).for_each(|chunk| hasher.update(&chunk));
        hasher.finalize()
    }
}

impl From<MadeUp> for Content {
    fn from(artwork: MadeUp) -> Self {
        let bytes: Vec<u8> = artwork.bytes(0..artwork.size).flatten().collect();
        let (size, crc32) = (artwork.size, crc32fast::hash(&bytes));
        Received { size, crc32, bytes: Some(bytes.into()) }.into()
    }
}

/// A body that was received.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) size: u64,
    pub(super) crc32: u32,
    /// `None` if the bytes were not kept.
    pub(super) bytes: Option<Bytes>,
}

/// Bytes of bodies that were received, one after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Content(Vec<(Arc<Received>, Range<u64>)>);

impl From<Received> for Content {
    fn from(received: Received) -> Self {
        let whole = 0..received.size;
        Self(vec![(Arc::new(received), whole)])
    }
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        self.0.iter().map(|(_, range)| range.end - range.start).sum()
    }

    /// Appends bytes. Pieces of one body that follow each other become one.
    pub(super) fn append(&mut self, other: &Self) {
        for (body, range) in &other.0 {
            match self.0.last_mut() {
                Some((last, end)) if Arc::ptr_eq(last, body) && end.end == range.start => {
                    end.end = range.end;
                }
                _ => self.0.push((Arc::clone(body), range.clone())),
            }
        }
    }

    pub(super) fn slice(&self, range: Range<u64>) -> Self {
        let (mut start, mut slices) = (0, Vec::new());
        for (body, piece) in &self.0 {
            let size = piece.end - piece.start;
            let (from, to) = (range.start.max(start), range.end.min(start + size));
            if from < to {
                let within = piece.start + from - start..piece.start + to - start;
                slices.push((Arc::clone(body), within));
            }
            start += size;
        }
        Self(slices)
    }

    /// Returns the bytes of the first body.
    pub(super) fn first(mut self) -> Self {
        self.0.truncate(1);
        self
    }

    /// Returns the bytes, if all were kept.
    pub(super) fn bytes(&self) -> Option<Vec<Bytes>> {
        let bytes = |(body, range): &(Arc<Received>, Range<u64>)| {
            let index = |at: u64| usize::try_from(at).unwrap();
            Some(body.bytes.as_ref()?.slice(index(range.start)..index(range.end)))
        };
        self.0.iter().map(bytes).collect()
    }

    /// Returns the CRC32, unless it is that of a piece of a body that was not kept.
    pub(super) fn crc32(&self) -> Option<u32> {
        let mut whole = Hasher::new();
        for slice in &self.0 {
            let (body, range) = slice;
            let crc32 = if *range == (0..body.size) {
                body.crc32
            } else {
                crc32fast::hash(&Self(vec![slice.clone()]).bytes()?[0])
            };
            whole.combine(&Hasher::new_with_initial_len(crc32, range.end - range.start));
        }
        Some(whole.finalize())
    }
}
