//! A pool of buffers of one size, for parts and artworks.
//!
//! Allocating megabytes each time would cost more than filling them, because the kernel zeroes
//! every page that it maps. Buffers of one size serve every use, and small ones waste little where a part or a
//! file ends.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// The size of a buffer, in bytes. The allocator maps each one by itself (`MALLOC_MMAP_THRESHOLD_` in the
/// template), so that none stays on the heap between small allocations.
pub(super) const BUFFER_SIZE: usize = 1024 * 1024;
/// Number of bytes from which a buffer of the pool is used, so that at most a quarter of one is wasted. Fewer are
/// on the heap.
pub(super) const MIN_POOLED: usize = BUFFER_SIZE / 4 * 3;
/// Maximum number of unused buffers: those of the largest part memory. There are never more buffers than were in use
/// at once.
const MAX_UNUSED: usize = 60;

/// A pool of unused buffers. Cloning is cheap and shares the buffers.
#[derive(Debug, Clone, Default)]
pub(super) struct BufferPool(Arc<Mutex<Vec<Vec<u8>>>>);

/// A buffer with bytes. Returns to its pool when its last reader drops it.
struct LentBuffer {
    bytes: Vec<u8>,
    pool: BufferPool,
}

impl BufferPool {
    /// Takes an empty buffer of [`BUFFER_SIZE`].
    pub(super) fn take(&self) -> Vec<u8> {
        // Pages that are not written do not become resident.
        self.with_unused(Vec::pop).unwrap_or_else(|| Vec::with_capacity(BUFFER_SIZE))
    }

    /// Lends a buffer of [`BufferPool::take`] as a body.
    pub(super) fn lend(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(LentBuffer { bytes, pool: self.clone() })
    }

    /// Returns the number of unused buffers.
    #[cfg(test)]
    pub(super) fn unused(&self) -> usize {
        self.with_unused(|unused| unused.len())
    }

    fn with_unused<T>(&self, change: impl FnOnce(&mut Vec<Vec<u8>>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsRef<[u8]> for LentBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for LentBuffer {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.bytes);
        buffer.clear();
        self.pool.with_unused(|unused| {
            if unused.len() < MAX_UNUSED {
                unused.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{BufferPool, MAX_UNUSED};

    #[test]
    fn a_buffer_returns_when_its_last_reader_drops_it() {
        let buffers = BufferPool::default();
        let mut buffer = buffers.take();
        let address = buffer.as_ptr().addr();
        buffer.extend_from_slice(b"part");
        let sent = buffers.lend(buffer);
        let sent_again = sent.clone();
        drop(sent);
        let another = buffers.take();
        assert_ne!(another.as_ptr().addr(), address, "the first buffer still has a reader");
        assert_eq!(sent_again, "part");
        drop(sent_again);
        let again = buffers.take();
        assert!(again.is_empty() && again.as_ptr().addr() == address);
    }

    #[test]
    fn the_pool_limits_the_number_of_unused_buffers() {
        let buffers = BufferPool::default();
        let lent: Vec<_> = (0..=MAX_UNUSED).map(|_| buffers.lend(buffers.take())).collect();
        drop(lent);
        assert_eq!(buffers.unused(), MAX_UNUSED);
    }
}
