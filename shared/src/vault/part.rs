//! A part of an upload while it fills.

use bytes::{Bytes, BytesMut};
use crc32fast::Hasher;
use zip_to_s3::s3::PartBytes;

use super::buffers::{BufferPool, MIN_POOLED};

/// Size from which bytes are sent from where they are, in bytes. To copy fewer costs less than a segment
/// of their own.
const MIN_SEGMENT: usize = 4 * 1024;
/// Number of bytes from which it is faster to combine their CRC32 with that of the part than to compute it again.
const MIN_COMBINED: usize = 64 * 1024;
/// Maximum number of copied bytes behind a segment that are on the heap. More are in buffers of the pool.
const MAX_SMALL: usize = 256 * 1024;
/// Size of a block on the heap, in bytes. Often a segment is followed by one local header, and many share a block.
const BLOCK: usize = 8 * 1024;

/// The bytes of a part: copies of small writes, and segments that are not copied.
#[derive(Default)]
pub(super) struct FillingPart {
    /// The segments so far. The request that sends the part may read them already.
    bytes: PartBytes,
    /// Copied bytes at the beginning, or behind `small`, in a buffer of the pool.
    tail: Vec<u8>,
    /// Copied bytes behind a segment that is not copied, and the rest of their block.
    small: BytesMut,
    /// Whether a segment that is not copied precedes the next bytes, and at most copied ones in `small`.
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
        if self.is_behind_segment {
            let room = MAX_SMALL.saturating_sub(self.small.len());
            let (start, rest) = bytes.split_at(bytes.len().min(room));
            if self.small.is_empty() && self.small.capacity() < start.len() {
                self.small = BytesMut::with_capacity(BLOCK);
            }
            self.small.extend_from_slice(start);
            bytes = rest;
        }
        while !bytes.is_empty() {
            if self.tail.len() == self.tail.capacity() {
                self.seal(buffers);
                self.tail = buffers.take();
            }
            let room = self.tail.capacity() - self.tail.len();
            let (start, rest) = bytes.split_at(bytes.len().min(room));
            self.tail.extend_from_slice(start);
            bytes = rest;
        }
    }

    /// Appends bytes with this CRC32. Copies them if they are few.
    pub(super) fn append(&mut self, bytes: Bytes, crc32: u32, buffers: &BufferPool) {
        if bytes.len() < MIN_SEGMENT {
            return self.copy(&bytes, buffers);
        }
        self.seal(buffers);
        if bytes.len() < MIN_COMBINED {
            self.crc32.update(&bytes);
        } else {
            self.crc32.combine(&Hasher::new_with_initial_len(crc32, bytes.len() as u64));
        }
        self.size += bytes.len();
        self.bytes.push(bytes);
        self.is_behind_segment = true;
    }

    /// Returns the bytes so far, except those that are still copied into a buffer.
    pub(super) fn bytes(&self) -> &PartBytes {
        &self.bytes
    }

    /// Completes the part, and leaves an empty one.
    pub(super) fn complete(&mut self, buffers: &BufferPool) -> PartBytes {
        self.seal(buffers);
        let Self { bytes, crc32, .. } = std::mem::take(self);
        bytes.complete(crc32.finalize());
        bytes
    }

    /// Returns the bytes and their CRC32, and leaves an empty part. A request that sends the part fails.
    pub(super) fn take(&mut self, buffers: &BufferPool) -> (Vec<Bytes>, u32) {
        self.seal(buffers);
        let Self { bytes, crc32, .. } = std::mem::take(self);
        (bytes.withdraw(), crc32.finalize())
    }

    /// Makes a segment of the copied bytes behind the last one.
    fn seal(&mut self, buffers: &BufferPool) {
        self.is_behind_segment = false;
        if !self.small.is_empty() {
            self.bytes.push(self.small.split().freeze());
        }
        let tail = std::mem::take(&mut self.tail);
        if tail.is_empty() {
            return;
        }
        self.bytes.push(if tail.len() < MIN_POOLED {
            let copy = Bytes::copy_from_slice(&tail);
            drop(buffers.lend(tail));
            copy
        } else {
            buffers.lend(tail)
        });
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

    use super::{FillingPart, MAX_SMALL, MIN_SEGMENT, cut};
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
            // Behind a segment a small buffer and three of the pool, and in front of one three.
            [vec![MIN_SEGMENT], vec![MIN_SEGMENT - 1; 700]].concat(),
            [vec![MIN_SEGMENT - 1; 700], vec![MIN_SEGMENT]].concat(),
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
    fn a_segment_behind_few_bytes_keeps_no_buffer_of_the_pool() {
        let buffers = BufferPool::default();
        let mut part = FillingPart::default();
        for _ in 0..3 {
            part.copy(&noise(MAX_SMALL + 1), &buffers);
            let segment = noise(MIN_SEGMENT);
            part.append(segment.clone(), crc32fast::hash(&segment), &buffers);
        }
        assert_eq!(part.size(), 3 * (MAX_SMALL + 1 + MIN_SEGMENT));
        assert_eq!(buffers.unused(), 1, "all used the same buffer");
    }

    #[test]
    fn a_segment_is_not_copied() {
        let buffers = BufferPool::default();
        let bytes = noise(MIN_SEGMENT);
        let mut part = FillingPart::default();
        part.append(bytes.clone(), crc32fast::hash(&bytes), &buffers);
        assert_eq!(part.take(&buffers).0[0].as_ptr(), bytes.as_ptr());
    }
}
