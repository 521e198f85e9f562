//! The bytes of a file in buffers of the pool.

use std::time::Duration;

use bytes::Bytes;
use crc32fast::Hasher;
use tokio::time::timeout;
use zip_to_s3::s3::Body;

use super::VaultError;
use super::buffers::{BUFFER_SIZE, BufferPool, MIN_POOLED};

/// Time limit for the next bytes of a body. There is no back-pressure while it is read.
pub(super) const NEXT_BYTES_TIMEOUT: Duration = Duration::from_secs(15);

/// Some bytes of a file.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The bytes, at most 1 MiB.
    pub bytes: Bytes,
    /// Their CRC32.
    pub crc32: u32,
}

/// The chunks of a file, or of a range of one, while its bytes arrive.
pub struct Chunks {
    buffers: BufferPool,
    /// Number of bytes that are to arrive.
    expected: usize,
    /// Number of bytes so far.
    size: usize,
    full: Vec<Chunk>,
    last: Vec<u8>,
    /// The CRC32 of the last chunk.
    crc32: Hasher,
}

impl Chunks {
    pub(super) fn new(buffers: BufferPool, expected: usize) -> Self {
        let (full, last) = (Vec::with_capacity(expected.div_ceil(BUFFER_SIZE)), Vec::new());
        Self { buffers, expected, size: 0, full, last, crc32: Hasher::new() }
    }

    /// Returns the number of bytes so far.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns the number of bytes to come.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.expected - self.size
    }

    /// Returns the chunks.
    #[must_use]
    pub fn finish(mut self) -> Vec<Chunk> {
        self.seal();
        self.full
    }

    /// Reads `body` until all bytes have arrived. Those that arrived before an error remain, and those that follow stay
    /// in the body.
    ///
    /// # Errors
    /// [`VaultError::Body`] when the body ends early or stalls.
    pub(super) async fn read(&mut self, body: &mut Body) -> Result<(), VaultError> {
        let error = |text: &str| VaultError::Body(text.to_owned());
        while self.remaining() > 0 {
            let next = timeout(NEXT_BYTES_TIMEOUT, body.next()).await;
            let next = next.map_err(|_| error("the body stalled"))?;
            let mut bytes = next.ok_or_else(|| error("the body ended early"))??;
            self.append(&bytes.split_to(bytes.len().min(self.remaining())));
            body.put_back(bytes);
        }
        // To its end, so that the connection can serve the next request.
        if body.remaining() == 0 {
            let _ = timeout(NEXT_BYTES_TIMEOUT, body.next()).await;
        }
        Ok(())
    }

    /// Appends a copy of `bytes`, of which no more remain than are to arrive: a body of hyper keeps the buffer of its
    /// connection in use, which is larger and which the connection reuses once it is free.
    fn append(&mut self, mut bytes: &[u8]) {
        debug_assert!(bytes.len() <= self.remaining());
        while !bytes.is_empty() {
            if self.last.len() == self.last.capacity() {
                self.seal();
                self.last = self.empty(self.remaining());
            }
            let room = self.last.capacity() - self.last.len();
            let (start, rest) = bytes.split_at(bytes.len().min(room));
            // While the processor's cache still has it.
            self.crc32.update(start);
            self.last.extend_from_slice(start);
            self.size += start.len();
            bytes = rest;
        }
    }

    /// Returns an empty buffer for the bytes to come.
    fn empty(&self, remaining: usize) -> Vec<u8> {
        if remaining < MIN_POOLED { Vec::with_capacity(remaining) } else { self.buffers.take() }
    }

    fn seal(&mut self) {
        let bytes = std::mem::take(&mut self.last);
        if !bytes.is_empty() {
            let is_pooled = bytes.capacity() >= MIN_POOLED;
            let bytes = if is_pooled { self.buffers.lend(bytes) } else { bytes.into() };
            self.full.push(Chunk { bytes, crc32: std::mem::take(&mut self.crc32).finalize() });
        }
    }
}

/// Returns the CRC32 of a file of these chunks.
#[must_use]
pub fn crc32_of(chunks: &[Chunk]) -> u32 {
    let mut whole = Hasher::new();
    for Chunk { bytes, crc32 } in chunks {
        whole.combine(&Hasher::new_with_initial_len(*crc32, bytes.len() as u64));
    }
    whole.finalize()
}

#[cfg(test)]
mod tests {
    use super::{BUFFER_SIZE, BufferPool, Chunks, crc32_of};

    #[test]
    fn a_file_has_as_many_chunks_as_it_fills_and_its_crc32() {
        for (size, sizes) in [
            (0, vec![]),
            (10, vec![10]),
            (BUFFER_SIZE - 1, vec![BUFFER_SIZE - 1]),
            (BUFFER_SIZE, vec![BUFFER_SIZE]),
            (2 * BUFFER_SIZE + 1, vec![BUFFER_SIZE, BUFFER_SIZE, 1]),
            (2 * BUFFER_SIZE - 1, vec![BUFFER_SIZE, BUFFER_SIZE - 1]),
        ] {
            let mut file = vec![0; size];
            fastrand::Rng::with_seed(size as u64).fill(&mut file);
            let mut chunks = Chunks::new(BufferPool::default(), size);
            for arrived in file.chunks(16_000) {
                chunks.append(arrived);
            }
            assert_eq!((chunks.size(), chunks.remaining()), (size, 0));
            let chunks = chunks.finish();
            assert_eq!(chunks.iter().map(|chunk| chunk.bytes.len()).collect::<Vec<_>>(), sizes);
            let bytes: Vec<_> = chunks.iter().map(|chunk| &chunk.bytes[..]).collect();
            assert!(bytes.concat() == file, "{size} bytes");
            assert_eq!(crc32_of(&chunks), crc32fast::hash(&file));
            assert!(chunks.iter().all(|chunk| crc32fast::hash(&chunk.bytes) == chunk.crc32));
        }
    }
}
