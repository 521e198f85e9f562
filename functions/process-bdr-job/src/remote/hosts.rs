//! How much of the web a request may use: 8 artworks of a host at a time and 32 of all, and no more of
//! a host once it has timed out five times running. One slow host must not cost the artist the whole
//! request, and many hostile ones not the function's memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::guard;
use crate::artwork::Missing;

/// Artworks fetched at a time from one host.
const AT_A_TIME: usize = 8;
/// Artworks fetched at a time from all hosts: a head may take 408 KiB before hyper refuses it, and a
/// body as much again before somebody reads it.
const AT_A_TIME_IN_ALL: usize = 32;
/// Timeouts running after which a host is given up.
const PATIENCE: u32 = 5;

/// The hosts that one request asks. The next request starts anew: a host that was down may be up.
pub struct Hosts {
    by_name: Mutex<HashMap<String, Arc<Host>>>,
    turns: Arc<Semaphore>,
}

/// One host.
pub(super) struct Host {
    turns: Arc<Semaphore>,
    timeouts_running: AtomicU32,
}

/// The right to fetch one artwork from a host, until it is dropped.
pub struct Turn {
    host: Arc<Host>,
    stop_at: Instant,
    _permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Default for Hosts {
    fn default() -> Self {
        Self { by_name: Mutex::default(), turns: Arc::new(Semaphore::new(AT_A_TIME_IN_ALL)) }
    }
}

impl Hosts {
    /// Waits for a turn at the URL's host.
    ///
    /// # Errors
    /// When the URL names no host, the host was given up, or `stop_at` comes first.
    pub async fn turn(&self, url: &Url, stop_at: Instant) -> Result<Turn, Missing> {
        let name = url.host_str().ok_or_else(guard::refused)?;
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
            _ => Err(Host::silent()),
        }
    }
}

impl Default for Host {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_A_TIME)), timeouts_running: AtomicU32::new(0) }
    }
}

impl Host {
    pub(super) fn timed_out(&self) {
        self.timeouts_running.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answered(&self) {
        // Once given up, given up: an answer that comes late changes nothing.
        if !self.is_given_up() {
            self.timeouts_running.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.timeouts_running.load(Ordering::Relaxed) >= PATIENCE
    }

    /// What is said of an artwork whose host does not answer.
    pub(super) fn silent() -> Missing {
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

    /// When the artwork counts as missing whatever is left.
    pub(super) fn stop_at(&self) -> Instant {
        self.stop_at
    }
}
