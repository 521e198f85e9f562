//! The sizes of the parts of an upload.
//!
//! A part costs as much as 0.75 s of a function with 512 MB. Small parts need little memory, and the last one is
//! sent soon after the end of the archive; large ones need fewer requests. The size of an archive is not known
//! before its end, so its parts grow.

use zip_to_s3::plan::{MIN_PART, Prefer};

use super::{MAX_PARTS, MIB};

/// Size of the first parts: the minimum of S3, in bytes.
const SMALL_PART: usize = 5 * MIB;
const _: () = assert!(SMALL_PART as u64 == MIN_PART);
/// For the lowest price a part has at most the bytes before it, divided by this: so much longer the upload takes at
/// most if S3 receives the last part only when the archive ends.
const PARTS_BEFORE: u64 = 40;
/// Minimum memory for parts, the one that fills included, in bytes: five small ones and the beginning of another.
/// With three small ones, 2 GB took 2.5 times as long.
pub const MIN_PART_MEMORY: usize = 28 * MIB;
/// Number of parts that may be small. They hold 2 GB.
const SMALL_PARTS: u16 = 400;
/// Size of an archive from which parts take more than [`MIN_PART_MEMORY`], in bytes. Below, it gains nothing.
const LARGE_FROM: u64 = SMALL_PARTS as u64 * SMALL_PART as u64;
/// The sizes of the parts of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartSizes {
    memory: usize,
    prefer: Prefer,
}

/// A part that ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct EndedPart {
    /// The size that it was to have, in bytes.
    pub(super) size: usize,
    /// Whether the writer waited for memory while it filled.
    pub(super) is_waited_for: bool,
}

/// The limits of a part, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartLimits {
    /// Its size when it is full.
    pub(super) size: usize,
    /// The memory that parts take while it fills.
    pub(super) memory: usize,
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

    /// Returns the number of parts of an upload of `bytes` that is never waited for.
    #[must_use]
    pub fn count(self, bytes: u64) -> u16 {
        let (mut number, mut written, mut last) = (0, 0, None);
        while written < bytes && number < MAX_PARTS {
            number += 1;
            let size = self.limits(number, written, last).size;
            written += size as u64;
            last = Some(EndedPart { size, is_waited_for: false });
        }
        number
    }

    /// Returns the limits of part `number`, from 1, which follows `written` bytes and `last`.
    ///
    /// For the lowest price a part is a quarter larger than the one before it, or a quarter smaller if the writer
    /// waited for that: while S3 responds to a part, the memory must hold what arrives meanwhile. Two parts fit into
    /// the memory, so that one can fill while the other one is sent.
    pub(super) fn limits(self, number: u16, written: u64, last: Option<EndedPart>) -> PartLimits {
        let is_large = number > SMALL_PARTS || written >= LARGE_FROM;
        let memory = if is_large { self.memory } else { MIN_PART_MEMORY };
        let min = self.min_size(number);
        let size = match (self.prefer, last) {
            (Prefer::Speed, _) | (_, None) => min,
            (Prefer::Price, Some(EndedPart { size, is_waited_for: true })) => size / 4 * 3,
            (Prefer::Price, Some(EndedPart { size, is_waited_for: false })) => size + size / 4,
        };
        let affordable = usize::try_from(written / PARTS_BEFORE).unwrap_or(usize::MAX);
        let max = affordable.min(memory / 2 / MIB * MIB);
        PartLimits { size: size.min(max).max(min), memory }
    }

    /// Returns the minimum size of part `number` in bytes.
    const fn min_size(self, number: u16) -> usize {
        // 10,000 parts must hold the largest archive.
        if number <= SMALL_PARTS { SMALL_PART } else { self.memory * 2 / 5 / MIB * MIB }
    }
}

/// Maximum number of bytes of an upload with any sizes: 105 GiB, more than a function can transfer in its 15
/// minutes.
pub const MAX_UPLOAD_BYTES: u64 = {
    let sizes = PartSizes::new(MIN_PART_MEMORY, Prefer::Speed);
    let (mut bytes, mut number) = (0, 1);
    while number <= MAX_PARTS {
        bytes += sizes.min_size(number) as u64;
        number += 1;
    }
    bytes
};

#[cfg(test)]
mod tests {
    use zip_to_s3::plan::Prefer;

    use super::{EndedPart, MAX_PARTS, MAX_UPLOAD_BYTES, MIB, PartLimits, PartSizes};

    /// Returns the sizes of the parts of an upload in MiB, rounded down, of which each is waited for or none.
    fn sizes(of: PartSizes, bytes: u64, is_waited_for: bool) -> Vec<usize> {
        let (mut sizes, mut written, mut last) = (Vec::new(), 0, None);
        while written < bytes {
            let number = u16::try_from(sizes.len() + 1).unwrap();
            let PartLimits { size, memory } = of.limits(number, written, last);
            assert!((5 * MIB..=memory / 2).contains(&size), "{number}: {size} of {memory}");
            sizes.push(size / MIB);
            written += size as u64;
            last = Some(EndedPart { size, is_waited_for });
        }
        sizes
    }

    #[test]
    fn parts_grow_with_the_archive_within_the_memory() {
        let grown = sizes(PartSizes::new(60 * MIB, Prefer::Price), 4 << 30, false);
        assert!(grown.is_sorted());
        let first_of = |size| grown.iter().position(|found| *found >= size).unwrap();
        assert_eq!([first_of(6), first_of(14), first_of(30)], [48, 82, 188]);
        assert_eq!(grown.last(), Some(&30));
        let small = sizes(PartSizes::new(0, Prefer::Price), 4 << 30, false);
        assert_eq!(small.last(), Some(&14));
    }

    #[test]
    fn a_part_that_is_waited_for_is_followed_by_a_smaller_one() {
        let of = PartSizes::new(60 * MIB, Prefer::Price);
        let after = |is_waited_for| {
            let last = EndedPart { size: 20 * MIB, is_waited_for };
            of.limits(300, 8 << 30, Some(last)).size / MIB
        };
        assert_eq!([after(true), after(false)], [15, 25]);
        assert!(sizes(of, 2_000_000_000, true).iter().all(|size| *size == 5));
    }

    #[test]
    fn for_speed_parts_are_small() {
        let of = sizes(PartSizes::new(60 * MIB, Prefer::Speed), 4 << 30, false);
        assert!(of[..400].iter().all(|size| *size == 5));
        assert!(of[400..].iter().all(|size| *size == 24));
    }

    #[test]
    fn ten_thousand_parts_hold_105_gib() {
        assert_eq!(MAX_UPLOAD_BYTES, 107_600 << 20);
        for (prefer, is_waited_for) in
            [(Prefer::Price, false), (Prefer::Price, true), (Prefer::Speed, false)]
        {
            let parts = sizes(PartSizes::new(0, prefer), MAX_UPLOAD_BYTES, is_waited_for);
            assert!(parts.len() <= MAX_PARTS.into());
        }
    }

    #[test]
    fn an_upload_has_as_many_parts_as_its_bytes_fill() {
        let sizes = PartSizes::default();
        let counts = [0, 1, 5 << 20, (5 << 20) + 1, 2 << 30].map(|bytes| sizes.count(bytes));
        assert_eq!(counts, [0, 1, 1, 2, 188]);
    }
}
