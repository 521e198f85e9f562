//! The CRC32 of every entry: known beforehand, or combined from its pieces as they pass.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crc32fast::Hasher;
use tokio::sync::Notify;

/// The CRC32 of every entry.
#[derive(Debug)]
pub(super) struct Sums {
    entries: Mutex<Vec<Sum>>,
    changed: Notify,
}

#[derive(Debug, Clone, Default)]
struct Sum {
    /// The CRC32 that a header may contain.
    known: Option<u32>,
    size: u64,
    /// Position, size and CRC32 of the pieces that have passed.
    pieces: Vec<(u64, u64, u32)>,
}

/// The bytes of an entry have another CRC32 than S3 stated.
#[derive(Debug)]
pub(super) struct Mismatch;

impl Sums {
    /// Returns the sums of entries of these sizes, some of which are known.
    pub(super) fn new(entries: impl Iterator<Item = (u64, Option<u32>)>) -> Self {
        let sum = |(size, known): (u64, Option<u32>)| Sum {
            known: known.or_else(|| (size == 0).then_some(0)),
            size,
            pieces: Vec::new(),
        };
        Self { entries: Mutex::new(entries.map(sum).collect()), changed: Notify::new() }
    }

    /// Records the CRC32 that S3 states.
    pub(super) fn state(&self, entry: usize, crc32: u32) -> Result<(), Mismatch> {
        self.set(&mut self.lock()[entry], crc32)
    }

    /// Records the CRC32 of some bytes. The last ones verify that of the whole.
    pub(super) fn add(
        &self,
        entry: usize,
        position: u64,
        size: u64,
        crc32: u32,
    ) -> Result<(), Mismatch> {
        let mut entries = self.lock();
        let sum = &mut entries[entry];
        sum.pieces.push((position, size, crc32));
        if sum.pieces.iter().map(|(_, size, _)| size).sum::<u64>() < sum.size {
            return Ok(());
        }
        sum.pieces.sort_unstable_by_key(|(position, ..)| *position);
        let whole = std::mem::take(&mut sum.pieces)
            .into_iter()
            .fold(Hasher::new(), |whole, (_, size, crc32)| appended(whole, size, crc32));
        self.set(sum, whole.finalize())
    }

    fn set(&self, sum: &mut Sum, crc32: u32) -> Result<(), Mismatch> {
        match sum.known {
            Some(known) if known != crc32 => return Err(Mismatch),
            Some(_) => {}
            None => {
                sum.known = Some(crc32);
                self.changed.notify_waiters();
            }
        }
        Ok(())
    }

    /// Waits for the CRC32 of an entry.
    pub(super) async fn wait(&self, entry: usize) -> u32 {
        loop {
            let changed = self.changed.notified();
            if let Some(crc32) = self.lock()[entry].known {
                return crc32;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sum>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the CRC32 of `whole` followed by `size` bytes with this CRC32.
pub(super) fn appended(mut whole: Hasher, size: u64, crc32: u32) -> Hasher {
    whole.combine(&Hasher::new_with_initial_len(crc32, size));
    whole
}
