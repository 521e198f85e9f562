//! Counts of what was asked.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::operation::Kind;

/// Requests by kind, answers that were errors, and connections.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    requests: [AtomicU64; Kind::ALL.len()],
    errors: AtomicU64,
    connections: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    /// Requests of this kind.
    pub(crate) fn requests(&self, kind: Kind) -> u64 {
        self.requests[kind as usize].load(Relaxed)
    }

    /// Answers that were errors.
    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Relaxed)
    }

    /// Connections that were opened.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// Bytes of objects and parts that came in.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    pub(super) fn request(&self, kind: Kind) {
        self.requests[kind as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn error(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    pub(super) fn connection(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(super) fn receive(&self, bytes: u64) {
        self.received.fetch_add(bytes, Relaxed);
    }

    pub(super) fn reset(&self) {
        let counters = [&self.errors, &self.connections, &self.received];
        for counter in self.requests.iter().chain(counters) {
            counter.store(0, Relaxed);
        }
    }
}
