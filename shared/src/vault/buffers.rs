//! Large buffers that are used again: for part after part, and for artwork after artwork.
//!
//! To allocate megabytes each time would cost more than filling them: the kernel clears every page that
//! it hands out.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers that are not in use, and how many of them are kept, of what size in bytes at most.
#[derive(Debug, Clone)]
pub(super) struct Buffers {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
    most: usize,
    largest: usize,
}

/// A full buffer on its way, which comes back when nobody needs its bytes any more.
struct Lent {
    bytes: Vec<u8>,
    home: Buffers,
}

impl Buffers {
    pub(super) fn new(most: usize, largest: usize) -> Self {
        Self { free: Arc::default(), most, largest }
    }

    /// An empty buffer with room for `size` bytes.
    pub(super) fn take(&self, size: usize) -> Vec<u8> {
        let mut buffer = self.with(Vec::pop).unwrap_or_default();
        // Pages that are never written are never resident.
        buffer.reserve_exact(size);
        buffer
    }

    /// A full buffer as a body to be sent.
    pub(super) fn lend(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { bytes, home: self.clone() })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Vec<Vec<u8>>) -> T) -> T {
        change(&mut self.free.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.bytes);
        buffer.clear();
        let Buffers { most, largest, .. } = self.home;
        self.home.with(|free| {
            if free.len() < most && buffer.capacity() <= largest {
                free.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::Buffers;

    #[test]
    fn a_buffer_comes_back_when_its_last_reader_has_gone() {
        let buffers = Buffers::new(1, 1_000);
        let mut buffer = buffers.take(1_000);
        let place = buffer.as_ptr().addr();
        buffer.extend_from_slice(b"part");
        let sent = buffers.lend(buffer);
        let sent_again = sent.clone();
        drop(sent);
        let another = buffers.take(1_000);
        assert_ne!(another.as_ptr().addr(), place, "somebody still reads it");
        assert_eq!(sent_again, "part");
        drop(sent_again);
        let again = buffers.take(1_000);
        assert!(again.is_empty() && again.as_ptr().addr() == place);
    }

    #[test]
    fn no_more_and_no_larger_ones_are_kept_than_wanted() {
        let buffers = Buffers::new(1, 1_000);
        for size in [1_001, 1_000, 1_000] {
            let buffer = buffers.take(size);
            buffers.lend(buffer);
        }
        let both = [buffers.take(1_000), buffers.take(1_000)].map(|buffer| buffers.lend(buffer));
        drop(both);
        assert_eq!(buffers.with(|free| free.len()), 1);
        buffers.lend(vec![0; 1_001]);
        assert_eq!(buffers.with(|free| free.len()), 1);
    }
}
