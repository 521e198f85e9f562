//! Artworks that exist only while they are sent.

use std::{iter, sync::LazyLock};

use bytes::Bytes;

/// A file of the vault, or of a web server. Its key says everything about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Artwork {
    /// What tells it from others of its size.
    pub number: u64,
    /// In bytes.
    pub size: u64,
}

/// What a PNG begins with: files from the web must be what they are called.
const SIGNATURE: Bytes = Bytes::from_static(b"\x89PNG\r\n\x1a\n");

/// What all artworks are cut from: as good as random to a compressor, whose window is smaller.
static ROCK: LazyLock<Bytes> = LazyLock::new(|| {
    let words = (0..ROCK_SIZE as u64 / 8).map(scrambled);
    words.flat_map(u64::to_le_bytes).collect()
});
const ROCK_SIZE: usize = 1024 * 1024;
const CHUNK: usize = 256 * 1024;

impl Artwork {
    /// Its key.
    #[must_use]
    pub fn key(self) -> String {
        format!("artworks/{}/{}.png", self.size, self.number)
    }

    /// The artwork of that key, if it is one's.
    #[must_use]
    pub fn of_key(key: &str) -> Option<Self> {
        let (size, number) =
            key.strip_prefix("artworks/")?.strip_suffix(".png")?.split_once('/')?;
        Some(Self { number: number.parse().ok()?, size: size.parse().ok()? })
    }

    /// Its bytes, the same every time: a signature, and the rest cut from the rock at a place of its
    /// own.
    pub fn chunks(self) -> impl Iterator<Item = Bytes> + Send + Unpin {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let signature = SIGNATURE.slice(..SIGNATURE.len().min(size));
        let mut left = size - signature.len();
        let place = scrambled(self.number ^ self.size.rotate_left(32)) % ROCK_SIZE as u64;
        let mut place = usize::try_from(place).unwrap_or(0);
        let rest = iter::from_fn(move || {
            let length = CHUNK.min(ROCK_SIZE - place).min(left);
            let chunk = ROCK.slice(place..place + length);
            place = (place + length) % ROCK_SIZE;
            left -= length;
            (length > 0).then_some(chunk)
        });
        iter::once(signature).chain(rest).filter(|chunk| !chunk.is_empty())
    }
}
/// `SplitMix64`.
fn scrambled(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(number: u64, size: u64) -> Vec<u8> {
        Artwork { number, size }.chunks().flatten().collect()
    }

    #[test]
    fn an_artwork_is_as_long_as_its_key_says_and_always_the_same() {
        let artwork = Artwork { number: 17, size: 3_000_001 };
        assert_eq!(Artwork::of_key(&artwork.key()), Some(artwork));
        assert_eq!(bytes(17, 3_000_001).len(), 3_000_001);
        assert_eq!(bytes(17, 3_000_001), bytes(17, 3_000_001));
        assert!(bytes(17, 0).is_empty());
        assert_eq!(bytes(17, 5), SIGNATURE[..5]);
        assert_ne!(bytes(17, 100), bytes(18, 100));
        assert_eq!(Artwork::of_key("bdr/u/x.zip"), None);
    }
}
