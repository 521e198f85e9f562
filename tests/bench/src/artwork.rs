//! Artworks that are generated while they are sent.

use std::{iter, ops::Range, sync::LazyLock};

use bytes::Bytes;
use fastrand::Rng;

/// A file of the vault or of a web server, described completely by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Artwork {
    /// Distinguishes artworks of the same size.
    pub number: u64,
    /// Size in bytes.
    pub size: u64,
}

/// The first bytes of a PNG: the function checks the format of a file from the web.
const SIGNATURE: Bytes = Bytes::from_static(b"\x89PNG\r\n\x1a\n");

/// Random bytes that every artwork is made of. An artwork repeats them after 768 KiB, which Deflate cannot
/// compress, because its window has 32 KiB.
static NOISE: LazyLock<Bytes> = LazyLock::new(|| {
    let mut noise = vec![0; NOISE_SIZE];
    Rng::with_seed(0).fill(&mut noise);
    noise.into()
});
const NOISE_SIZE: usize = 1024 * 1024;
const CHUNK_SIZE: usize = 256 * 1024;

impl Artwork {
    /// Returns the key.
    #[must_use]
    pub fn key(self) -> String {
        format!("artworks/{}/{}.png", self.size, self.number)
    }

    /// Returns the artwork with this key, or `None` if it is not the key of an artwork.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        let (size, number) =
            key.strip_prefix("artworks/")?.strip_suffix(".png")?.split_once('/')?;
        Some(Self { number: number.parse().ok()?, size: size.parse().ok()? })
    }

    /// Returns the bytes of `range` of the content.
    pub fn range(self, range: Range<u64>) -> impl Iterator<Item = Bytes> + Send {
        let mut position = 0;
        self.chunks().filter_map(move |chunk| {
            let start = position;
            position += chunk.len() as u64;
            let within = range.start.max(start)..range.end.min(position);
            let index = |position: u64| usize::try_from(position - start).unwrap_or(chunk.len());
            (!within.is_empty()).then(|| chunk.slice(index(within.start)..index(within.end)))
        })
    }

    /// Returns the content, which is the same every time: a PNG signature, then noise from an offset
    /// that depends on number and size.
    pub fn chunks(self) -> impl Iterator<Item = Bytes> + Send {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let signature = SIGNATURE.slice(..SIGNATURE.len().min(size));
        let seed = self.number ^ self.size.rotate_left(32);
        let offset = Rng::with_seed(seed).usize(..NOISE_SIZE);
        let rest = (signature.len()..size).step_by(CHUNK_SIZE).map(move |position| {
            let start = (offset + position) % (NOISE_SIZE - CHUNK_SIZE);
            NOISE.slice(start..start + CHUNK_SIZE.min(size - position))
        });
        iter::once(signature).chain(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(number: u64, size: u64) -> Vec<u8> {
        Artwork { number, size }.chunks().flatten().collect()
    }

    #[test]
    fn an_artwork_has_the_size_in_its_key_and_constant_content() {
        let artwork = Artwork { number: 17, size: 3_000_001 };
        assert_eq!(Artwork::from_key(&artwork.key()), Some(artwork));
        assert_eq!(bytes(17, 3_000_001).len(), 3_000_001);
        assert_eq!(bytes(17, 3_000_001), bytes(17, 3_000_001));
        assert!(bytes(17, 0).is_empty());
        assert_eq!(bytes(17, 5), SIGNATURE[..5]);
        assert_ne!(bytes(17, 100), bytes(18, 100));
        assert_eq!(Artwork::from_key("bdr/u/x.zip"), None);
        let whole = bytes(17, 3_000_001);
        for range in [0..1, 5..9, 8..262_152, 262_000..3_000_001, 7..7] {
            let part: Vec<u8> = artwork.range(range.clone()).flatten().collect();
            let index = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            assert!(part == whole[index], "{range:?}");
        }
    }
}
