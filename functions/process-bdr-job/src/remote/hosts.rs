//! Limits on remote requests: 8 artworks at a time per host and 32 in total, and none from a host after
//! five timeouts in a row. One slow host must not cost the whole request, and many hostile ones must not
//! exhaust the function's memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::guard;
use crate::missing::Missing;

/// Artworks fetched at a time from one host.
const MAX_PER_HOST: usize = 8;
/// Artworks fetched at a time from all hosts. A head can take 408 KiB before hyper rejects it, and an
/// unread body as much again.
const MAX_IN_TOTAL: usize = 32;
/// Timeouts in a row after which a host is given up.
const MAX_TIMEOUTS: u32 = 5;

/// The hosts of one batch download request. The next one starts anew, because a host may have recovered.
pub struct Hosts {
    by_name: Mutex<HashMap<String, Arc<Host>>>,
    turns: Arc<Semaphore>,
}

/// One host.
pub(super) struct Host {
    turns: Arc<Semaphore>,
    timeouts_in_a_row: AtomicU32,
}

/// The right to fetch one artwork from a host, until it is dropped.
pub struct Turn {
    host: Arc<Host>,
    stop_at: Instant,
    _permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Default for Hosts {
    fn default() -> Self {
        Self { by_name: Mutex::default(), turns: Arc::new(Semaphore::new(MAX_IN_TOTAL)) }
    }
}

impl Hosts {
    /// Waits for a turn at the URL's host.
    ///
    /// # Errors
    /// When the URL has no host, the host is given up, or `stop_at` comes first.
    pub async fn turn(&self, url: &Url, stop_at: Instant) -> Result<Turn, Missing> {
        let name = url.host_str().ok_or_else(guard::rejected)?;
        let host = Arc::clone(
            self.by_name
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(name.to_ascii_lowercase())
                .or_default(),
        );
        let acquire = |turns: &Arc<Semaphore>| Arc::clone(turns).acquire_owned();
        let acquired = async { tokio::try_join!(acquire(&host.turns), acquire(&self.turns)) };
        match timeout_at(stop_at, acquired).await {
            Ok(Ok(permits)) if !host.is_given_up() => Ok(Turn { host, stop_at, _permits: permits }),
            _ => Err(Host::unresponsive()),
        }
    }
}

impl Default for Host {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(MAX_PER_HOST)), timeouts_in_a_row: AtomicU32::new(0) }
    }
}

impl Host {
    pub(super) fn record_timeout(&self) {
        self.timeouts_in_a_row.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn record_response(&self) {
        // A late response does not restore a host that is given up.
        if !self.is_given_up() {
            self.timeouts_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.timeouts_in_a_row.load(Ordering::Relaxed) >= MAX_TIMEOUTS
    }

    /// Returns the reason for an artwork whose host does not respond.
    pub(super) fn unresponsive() -> Missing {
        Missing::transient(
            "This artwork's file could not be downloaded in time.",
            "the host timed out",
        )
    }
}

impl Turn {
    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the time at which the artwork counts as missing.
    pub(super) fn stop_at(&self) -> Instant {
        self.stop_at
    }
}
