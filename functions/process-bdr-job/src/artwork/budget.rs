//! The budget of bytes that are fetched and not yet written.
//!
//! The vault and the web have separate parts, so a slow host that holds web bytes never delays vault
//! artworks. A file larger than its lane's part is read alone, one at a time across both lanes, so that the
//! formula in `memory` holds.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::memory::Memory;

/// The web's part is the fetch budget divided by this, in a request with remote artworks.
const WEB_DIVISOR: u64 = 3;
/// Files of unknown size that the web's part holds at once. A file that grows beyond its fraction is
/// read alone.
const UNKNOWN_AT_ONCE: u64 = 4;
/// Pieces of a large file that the part holds at once: at 30 ms to the first byte and 40 MB/s each, three
/// of 3.67 MiB arrive at 91 MB/s, of which the network of a function passes on 75. Each is a GET.
const PIECES_AT_ONCE: u64 = 3;
/// A file larger than the part divided by this is read in pieces, where that is possible: of such files the
/// part would hold one at once, and one GET would set the pace.
const WHOLE_AT_ONCE: u64 = 2;

/// The budget of one request. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Budget {
    vault: Part,
    web: Part,
}

/// The part of one lane.
#[derive(Clone)]
pub(super) struct Part {
    bytes: Arc<Semaphore>,
    capacity: u64,
    /// The turn to read a file that is larger than its lane's part.
    large: Arc<Semaphore>,
}

/// The bytes that a file occupies. Dropping the share returns them.
pub(super) struct Share {
    _bytes: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// Divides the fetch budget; without remote artworks all of it is the vault's.
    pub(super) fn new(memory: &Memory, has_remote: bool) -> Self {
        let large = Arc::new(Semaphore::new(1));
        let web = if has_remote { memory.fetch_budget / WEB_DIVISOR } else { 0 };
        let part = |capacity: u64| Part {
            bytes: Arc::new(Semaphore::new(usize::try_from(capacity).unwrap_or(usize::MAX >> 3))),
            capacity,
            large: Arc::clone(&large),
        };
        Self { vault: part(memory.fetch_budget - web), web: part(web) }
    }

    /// Returns the part of the vault.
    pub(super) fn vault(&self) -> &Part {
        &self.vault
    }

    /// Returns the part of the web.
    pub(super) fn web(&self) -> &Part {
        &self.web
    }
}

impl Part {
    /// Waits for `size` bytes. A file larger than the part takes the whole part, then waits for the turn
    /// of large files.
    pub(super) async fn take(&self, size: u64) -> Share {
        let is_large = size > self.capacity;
        let bytes = u32::try_from(size.min(self.capacity)).unwrap_or(u32::MAX);
        // The semaphores are never closed.
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(bytes).await.ok();
        let large = if is_large { self.large_turn().await } else { None };
        Share { _bytes: bytes, large }
    }

    /// Returns the bytes to take for a file of unknown size.
    pub(super) fn unknown_size(&self) -> u64 {
        self.capacity / UNKNOWN_AT_ONCE
    }

    /// Returns the size of the pieces in which a file of `size` bytes is read, or `None` for a file that
    /// is read whole.
    pub(super) fn piece_size(&self, size: u64) -> Option<u64> {
        let max = self.capacity / PIECES_AT_ONCE;
        let is_large = size > self.capacity / WHOLE_AT_ONCE;
        // Pieces of about the same size.
        is_large.then(|| size.div_ceil(size.div_ceil(max)))
    }

    /// Waits for the turn to read beyond the bytes of `share`.
    pub(super) async fn grow(&self, share: &mut Share) {
        if share.large.is_none() {
            share.large = self.large_turn().await;
        }
    }

    async fn large_turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.large).acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::Budget;
    use crate::memory::{MIB, Memory};

    fn budget(has_remote: bool) -> Budget {
        Budget::new(&Memory::plan(512 * MIB, 64 * MIB), has_remote)
    }

    #[test]
    fn the_web_takes_nothing_from_the_vault() {
        let budget = budget(true);
        let _web = budget.web().take(11 * MIB / 3).now_or_never().unwrap();
        assert!(budget.web().take(1).now_or_never().is_none());
        assert!(budget.vault().take(7 * MIB).now_or_never().is_some());
    }

    #[test]
    fn without_remote_artworks_the_vault_has_all() {
        assert!(budget(false).vault().take(11 * MIB).now_or_never().is_some());
    }

    #[test]
    fn files_beyond_half_of_the_part_are_read_in_pieces() {
        let budget = budget(false);
        let piece_size = |size| budget.vault().piece_size(size);
        assert_eq!(piece_size(11 * MIB / 2), None);
        assert_eq!(piece_size(6 * MIB), Some(3 * MIB));
        assert_eq!(piece_size(60 * MIB), Some((60 * MIB).div_ceil(17)));
    }

    #[test]
    fn large_files_are_read_one_at_a_time() {
        let budget = budget(true);
        let large = budget.vault().take(60 * MIB).now_or_never().unwrap();
        assert!(budget.web().take(60 * MIB).now_or_never().is_none());
        let mut unknown = budget.web().take(budget.web().unknown_size()).now_or_never().unwrap();
        assert!(budget.web().grow(&mut unknown).now_or_never().is_none());
        drop(large);
        assert!(budget.web().grow(&mut unknown).now_or_never().is_some());
    }
}
