//! The sizes of the parts of an upload.
//!
//! A part costs as much as 0.75 s of a function with 512 MB, and the next one fills while it is sent. Small parts
//! are sent early and need little memory; large ones need fewer requests. The size of an archive is not known
//! before its end, so its parts grow.

use zip_to_s3::plan::{MIN_PART, Prefer};

use super::{MAX_PARTS, MIB};

/// Size of the first parts: the minimum of S3, in bytes.
const SMALL_PART: usize = 5 * MIB;
const _: () = assert!(SMALL_PART as u64 == MIN_PART);
/// Size of parts of medium size, in bytes. Three fit into the minimum memory. At a latency of 30 ms and without limits
/// of the network, 2 GB took a third longer when two and four fifths did.
const MEDIUM_PART: usize = 9 * MIB;
/// Minimum memory for parts, the one that fills included, in bytes: five small ones and the beginning of another.
/// With three small ones, 2 GB took 2.5 times as long.
pub const MIN_PART_MEMORY: usize = 28 * MIB;
/// Number of small parts for the lowest price. They hold 200 MiB.
const SMALL_PARTS: u16 = 40;
/// Number of small and medium parts for the lowest price. They hold 2 GB.
const SMALL_AND_MEDIUM_PARTS: u16 = 230;
/// Number of small parts for the shortest time. They hold 2 GB.
const SMALL_PARTS_FOR_SPEED: u16 = 400;
/// The memory for large parts, in halves of one: one is sent, one fills, and half of the next one fills until S3
/// responds. At 75 MB/s, 12 MiB take 0.17 s.
const HALVES_OF_LARGE_PARTS: usize = 5;

/// The sizes of the parts of an upload, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartSizes {
    memory: usize,
    prefer: Prefer,
}

impl Default for PartSizes {
    fn default() -> Self {
        Self { memory: MIN_PART_MEMORY, prefer: Prefer::Price }
    }
}

impl PartSizes {
    /// Returns the sizes with this memory for parts, in bytes; less than [`MIN_PART_MEMORY`] counts as that.
    #[must_use]
    pub const fn new(memory: usize, prefer: Prefer) -> Self {
        let memory = if memory < MIN_PART_MEMORY { MIN_PART_MEMORY } else { memory };
        Self { memory, prefer }
    }

    /// Returns the size of part `number`, from 1, in bytes.
    #[must_use]
    pub const fn size(self, number: u16) -> usize {
        self.limits(number).0
    }

    /// Returns the number of parts of an upload of `bytes`.
    #[must_use]
    pub fn count(self, bytes: u64) -> u16 {
        let mut left = bytes;
        let is_needed = |number: &u16| {
            let is_needed = left > 0;
            left = left.saturating_sub(self.size(*number) as u64);
            is_needed
        };
        (1..=MAX_PARTS).take_while(is_needed).last().unwrap_or(0)
    }

    /// Returns the size of part `number`, and the memory that parts take while it fills, in bytes. More memory
    /// for parts of small or medium size gains nothing.
    pub(super) const fn limits(self, number: u16) -> (usize, usize) {
        match self.prefer {
            Prefer::Price if number <= SMALL_PARTS => (SMALL_PART, MIN_PART_MEMORY),
            Prefer::Price if number <= SMALL_AND_MEDIUM_PARTS => (MEDIUM_PART, MIN_PART_MEMORY),
            Prefer::Speed if number <= SMALL_PARTS_FOR_SPEED => (SMALL_PART, MIN_PART_MEMORY),
            _ => (self.memory * 2 / HALVES_OF_LARGE_PARTS / MIB * MIB, self.memory),
        }
    }
}

/// Maximum number of bytes of an upload with any sizes: 105 GiB, more than a function can transfer in its 15
/// minutes.
pub const MAX_UPLOAD_BYTES: u64 = {
    let sizes = PartSizes::new(MIN_PART_MEMORY, Prefer::Speed);
    let (mut bytes, mut number) = (0, 1);
    while number <= MAX_PARTS {
        bytes += sizes.size(number) as u64;
        number += 1;
    }
    bytes
};

#[cfg(test)]
mod tests {
    use zip_to_s3::plan::Prefer;

    use super::{MAX_PARTS, MAX_UPLOAD_BYTES, MIB, PartSizes};

    #[test]
    fn parts_grow_within_the_memory() {
        let of = |prefer, memory: usize, number| {
            let (size, memory) = PartSizes::new(memory * MIB, prefer).limits(number);
            (size / MIB, memory / MIB)
        };
        let speed = |memory, number| of(Prefer::Speed, memory, number);
        assert_eq!([speed(28, 1), speed(60, 400), speed(0, 1)], [(5, 28); 3]);
        assert_eq!(
            [speed(28, 401), speed(60, 401), speed(60, 10_000)],
            [(11, 28), (24, 60), (24, 60)]
        );
        let price = |number| of(Prefer::Price, 60, number);
        assert_eq!(
            [price(40), price(41), price(230), price(231)],
            [(5, 28), (9, 28), (9, 28), (24, 60)]
        );
    }

    #[test]
    fn ten_thousand_parts_hold_105_gib_within_the_limits_of_s3() {
        assert_eq!(MAX_UPLOAD_BYTES, 107_600 << 20);
        for prefer in [Prefer::Price, Prefer::Speed] {
            let sizes = PartSizes::new(0, prefer);
            let size = |number| sizes.size(number) as u64;
            assert!((1..=MAX_PARTS).map(size).sum::<u64>() >= MAX_UPLOAD_BYTES);
            assert!((1..=MAX_PARTS).all(|number| (5 << 20..5 << 30).contains(&size(number))));
        }
    }

    #[test]
    fn an_upload_has_as_many_parts_as_its_bytes_fill() {
        let sizes = PartSizes::default();
        let counts = [0, 1, 5 << 20, (5 << 20) + 1, 2 << 30].map(|bytes| sizes.count(bytes));
        assert_eq!(counts, [0, 1, 1, 2, 243]);
    }
}
