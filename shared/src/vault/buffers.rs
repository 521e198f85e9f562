//! A pool of large buffers, for parts and artworks.
//!
//! Allocating megabytes each time would cost more than filling them, because the kernel zeroes
//! every page that it maps.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// A pool of unused buffers. Cloning is cheap and shares the buffers.
#[derive(Debug, Clone)]
pub(super) struct BufferPool {
    unused: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Maximum number of unused buffers.
    max_count: usize,
    /// Maximum size of an unused buffer, in bytes.
    max_size: usize,
}

/// A full buffer in use. Returns to its pool when its last reader drops it.
struct LentBuffer {
    bytes: Vec<u8>,
    pool: BufferPool,
}

impl BufferPool {
    pub(super) fn new(max_count: usize, max_size: usize) -> Self {
        Self { unused: Arc::default(), max_count, max_size }
    }

    /// Takes an empty buffer with a capacity of at least `size` bytes.
    pub(super) fn take(&self, size: usize) -> Vec<u8> {
        let mut buffer = self.with_unused(Vec::pop).unwrap_or_default();
        // Pages that are not written do not become resident.
        buffer.reserve_exact(size);
        buffer
    }

    /// Lends a full buffer as a body.
    pub(super) fn lend(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(LentBuffer { bytes, pool: self.clone() })
    }

    fn with_unused<T>(&self, change: impl FnOnce(&mut Vec<Vec<u8>>) -> T) -> T {
        change(&mut self.unused.lock().unwrap_or_else(PoisonError::into_inner))
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
        let BufferPool { max_count, max_size, .. } = self.pool;
        self.pool.with_unused(|unused| {
            if unused.len() < max_count && buffer.capacity() <= max_size {
                unused.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::BufferPool;

    #[test]
    fn a_buffer_returns_when_its_last_reader_drops_it() {
        let buffers = BufferPool::new(1, 1_000);
        let mut buffer = buffers.take(1_000);
        let address = buffer.as_ptr().addr();
        buffer.extend_from_slice(b"part");
        let sent = buffers.lend(buffer);
        let sent_again = sent.clone();
        drop(sent);
        let another = buffers.take(1_000);
        assert_ne!(another.as_ptr().addr(), address, "the first buffer still has a reader");
        assert_eq!(sent_again, "part");
        drop(sent_again);
        let again = buffers.take(1_000);
        assert!(again.is_empty() && again.as_ptr().addr() == address);
    }

    #[test]
    fn the_pool_limits_number_and_size_of_unused_buffers() {
        let buffers = BufferPool::new(1, 1_000);
        for size in [1_001, 1_000, 1_000] {
            let buffer = buffers.take(size);
            buffers.lend(buffer);
        }
        let both = [buffers.take(1_000), buffers.take(1_000)].map(|buffer| buffers.lend(buffer));
        drop(both);
        assert_eq!(buffers.with_unused(|unused| unused.len()), 1);
        buffers.lend(vec![0; 1_001]);
        assert_eq!(buffers.with_unused(|unused| unused.len()), 1);
    }
}
