//! A part of an upload while it fills.

use bytes::Bytes;
use crc32fast::Hasher;

use super::buffers::BufferPool;

/// Size from which bytes are sent from where they are, in bytes. To copy fewer costs less than a segment
/// of their own.
pub(super) const MIN_SEGMENT: usize = 256 * 1024;
/// Size of the first buffer behind a segment, in bytes: often it takes one local header.
const SMALL_BUFFER: usize = 1024;

/// The bytes of a part: copies of small writes, and segments that are not copied.
#[derive(Default)]
pub(super) struct FillingPart {
    segments: Vec<Bytes>,
    /// Copied bytes after the last segment.
    tail: Vec<u8>,
    /// Whether the tail follows a segment that is not copied. Often it is one local header, so it begins small
    /// and does not come from the pool.
    is_behind_segment: bool,
    size: usize,
    crc32: Hasher,
}

impl FillingPart {
    /// Returns the number of bytes.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Appends a copy of `bytes`, in buffers of the pool: a part that is larger than a buffer has several, so
    /// that the allocator need not map a new one for each part.
    pub(super) fn copy(&mut self, mut bytes: &[u8], buffers: &BufferPool) {
        self.crc32.update(bytes);
        self.size += bytes.len();
        while !bytes.is_empty() {
            let (start, rest) = bytes.split_at(bytes.len().min(self.tail_room(buffers)));
            self.tail.extend_from_slice(start);
            bytes = rest;
        }
    }

    /// Returns the room in the tail. If it is full, starts another one.
    fn tail_room(&mut self, buffers: &BufferPool) -> usize {
        if self.is_behind_segment {
            if self.tail.capacity() == 0 {
                self.tail = Vec::with_capacity(SMALL_BUFFER);
            }
            if self.tail.len() < MIN_SEGMENT {
                return MIN_SEGMENT - self.tail.len();
            }
        }
        if self.tail.len() == self.tail.capacity() || self.is_behind_segment {
            self.seal(buffers);
            self.tail = buffers.take();
        }
        self.tail.capacity() - self.tail.len()
    }

    /// Appends bytes with this CRC32. Copies them if they are few.
    pub(super) fn append(&mut self, bytes: Bytes, crc32: u32, buffers: &BufferPool) {
        if bytes.len() < MIN_SEGMENT {
            return self.copy(&bytes, buffers);
        }
        self.seal(buffers);
        self.crc32.combine(&Hasher::new_with_initial_len(crc32, bytes.len() as u64));
        self.size += bytes.len();
        self.segments.push(bytes);
        self.is_behind_segment = true;
    }

    /// Returns the bytes and their CRC32, and leaves an empty part.
    pub(super) fn take(&mut self, buffers: &BufferPool) -> (Vec<Bytes>, u32) {
        self.seal(buffers);
        let Self { segments, crc32, .. } = std::mem::take(self);
        (segments, crc32.finalize())
    }

    fn seal(&mut self, buffers: &BufferPool) {
        let tail = std::mem::take(&mut self.tail);
        let is_small = std::mem::take(&mut self.is_behind_segment);
        if !tail.is_empty() {
            self.segments.push(if is_small { tail.into() } else { buffers.lend(tail) });
        }
    }
}

/// Cuts the first `size` bytes off `bytes`, whose CRC32 is `crc32`. Returns them with theirs, and leaves
/// that of the rest.
#[must_use]
pub fn cut(bytes: &mut Bytes, crc32: &mut u32, size: usize) -> (Bytes, u32) {
    let start = bytes.split_to(size);
    if bytes.is_empty() {
        return (start, std::mem::take(crc32));
    }
    let of_start = crc32fast::hash(&start);
    let hasher = Hasher::new_with_initial_len(of_start, size as u64);
    *crc32 = crc32_of_end(*crc32, hasher, bytes.len() as u64);
    (start, of_start)
}

/// Returns the CRC32 of the last `size` bytes of a file whose CRC32 is `whole`, and whose other bytes are in
/// `start`: the CRC32 of a concatenation is that of its first half, moved, XOR that of its second.
#[must_use]
pub fn crc32_of_end(whole: u32, mut start: Hasher, size: u64) -> u32 {
    start.combine(&Hasher::new_with_initial_len(0, size));
    whole ^ start.finalize()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{FillingPart, MIN_SEGMENT, cut};
    use crate::vault::buffers::BufferPool;

    fn noise(size: usize) -> Bytes {
        let mut bytes = vec![0; size];
        fastrand::Rng::with_seed(size as u64).fill(&mut bytes);
        bytes.into()
    }

    #[test]
    fn both_pieces_of_bytes_have_their_crc32() {
        for (size, at) in [(1, 1), (2, 1), (300_000, 299_999), (300_000, 7), (300_000, 300_000)] {
            let whole = noise(size);
            let (mut rest, mut crc32) = (whole.clone(), crc32fast::hash(&whole));
            let (start, of_start) = cut(&mut rest, &mut crc32, at);
            assert_eq!((&start[..], of_start), (&whole[..at], crc32fast::hash(&whole[..at])));
            assert_eq!((&rest[..], crc32), (&whole[at..], crc32fast::hash(&whole[at..])));
        }
    }

    #[test]
    fn copies_and_segments_become_one_part_with_its_crc32() {
        let buffers = BufferPool::default();
        for sizes in [
            vec![10, MIN_SEGMENT, MIN_SEGMENT, 30, 40, MIN_SEGMENT - 1, MIN_SEGMENT + 1],
            vec![MIN_SEGMENT, 10],
            // Behind a segment a small buffer and two of the pool, and in front of one three.
            [vec![MIN_SEGMENT], vec![MIN_SEGMENT - 1; 9]].concat(),
            [vec![MIN_SEGMENT - 1; 9], vec![MIN_SEGMENT]].concat(),
            vec![10],
            vec![],
        ] {
            let mut part = FillingPart::default();
            let mut expected = Vec::new();
            for size in sizes {
                let bytes = noise(size);
                expected.extend_from_slice(&bytes);
                part.append(bytes.clone(), crc32fast::hash(&bytes), &buffers);
            }
            assert_eq!(part.size(), expected.len());
            let (segments, crc32) = part.take(&buffers);
            assert_eq!((part.size(), segments.concat()), (0, expected.clone()));
            assert_eq!(crc32, crc32fast::hash(&expected));
        }
    }

    #[test]
    fn a_large_segment_is_not_copied() {
        let buffers = BufferPool::default();
        let bytes = noise(MIN_SEGMENT);
        let mut part = FillingPart::default();
        part.append(bytes.clone(), crc32fast::hash(&bytes), &buffers);
        assert_eq!(part.take(&buffers).0[0].as_ptr(), bytes.as_ptr());
    }
}
