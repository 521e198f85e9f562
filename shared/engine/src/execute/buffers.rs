//! Part buffers, which are reused: to map and zero megabytes for each part would cost more than to
//! fill them.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A limited number of part buffers.
#[derive(Debug)]
pub(super) struct Buffers {
    size: usize,
    free: Arc<Semaphore>,
    /// What is left of each used buffer: an empty piece at its end, which reclaims the rest once all
    /// other pieces are dropped.
    used: Mutex<Vec<BytesMut>>,
}

/// A buffer in use. It is cut into pieces from the front.
#[derive(Debug)]
pub(super) struct Buffer {
    rest: BytesMut,
    pool: Arc<Buffers>,
    _permit: OwnedSemaphorePermit,
}

impl Buffers {
    pub(super) fn new(count: usize, size: usize) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(count));
        Arc::new(Self { size, free, used: Mutex::default() })
    }

    /// Waits for a buffer. `None`: the pool is closed, which it never is.
    pub(super) async fn take(self: Arc<Self>) -> Option<Buffer> {
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let reclaimed = used.and_then(|mut rest| rest.try_reclaim(self.size).then_some(rest));
        let rest = reclaimed.unwrap_or_else(|| BytesMut::with_capacity(self.size));
        Some(Buffer { rest, pool: self, _permit: permit })
    }
}

impl Buffer {
    /// Cuts off an empty piece with room for `size` bytes.
    pub(super) fn cut(&mut self, size: usize) -> BytesMut {
        let rest = self.rest.split_off(size);
        std::mem::replace(&mut self.rest, rest)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let rest = std::mem::take(&mut self.rest);
        self.pool.used.lock().unwrap_or_else(PoisonError::into_inner).push(rest);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::Buffers;

    #[test]
    fn a_buffer_is_reused_once_its_pieces_are_dropped() {
        let pool = Buffers::new(1, 1_000_000);
        let take = || pool.clone().take().now_or_never();
        let mut buffer = take().unwrap().unwrap();
        let mut pieces = [buffer.cut(10), buffer.cut(999_990)];
        pieces[0].extend_from_slice(&[1; 10]);
        pieces[1].extend_from_slice(&vec![2; 999_990]);
        let address = pieces[0].as_ptr().addr();
        assert!(take().is_none(), "there is one buffer");
        drop((pieces, buffer));
        let mut again = take().unwrap().unwrap();
        let piece = again.cut(1_000_000);
        assert_eq!((piece.as_ptr().addr(), piece.len()), (address, 0));
        assert_eq!(piece.capacity(), 1_000_000);
    }
}
