//! Counts of what was asked.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::{Value, json};

use crate::operation::Kind;

/// Requests by kind, answers that were errors, and connections.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    requests: [AtomicU64; Kind::ALL.len()],
    errors: AtomicU64,
    connections: AtomicU64,
    received: AtomicU64,
    in_flight: AtomicU64,
    most_in_flight: AtomicU64,
}

/// A request that is being answered.
pub(crate) struct Counted<'a>(&'a Traffic);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Traffic {
    /// All counts, by name.
    pub(crate) fn summary(&self) -> Value {
        let requests =
            Kind::ALL.map(|kind| (kind.name(), self.requests[kind as usize].load(Relaxed)));
        let requests = requests.into_iter().filter(|(_, count)| *count > 0);
        json!({
            "requests": requests.map(|(name, count)| (name.to_owned(), count.into()))
                .collect::<serde_json::Map<_, Value>>(),
            "errors": self.errors.load(Relaxed),
            "connections": self.connections.load(Relaxed),
            "received": self.received.load(Relaxed),
            "most_in_flight": self.most_in_flight.load(Relaxed),
        })
    }

    /// A request, in flight until what is returned is dropped.
    pub(crate) fn request(&self, kind: Kind) -> Counted<'_> {
        self.requests[kind as usize].fetch_add(1, Relaxed);
        let in_flight = self.in_flight.fetch_add(1, Relaxed) + 1;
        self.most_in_flight.fetch_max(in_flight, Relaxed);
        Counted(self)
    }

    pub(crate) fn error(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    /// A connection that was opened.
    pub(crate) fn connection(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// Bytes of an object or a part that came in.
    pub(crate) fn receive(&self, bytes: u64) {
        self.received.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn reset(&self) {
        let counters = [&self.errors, &self.connections, &self.received, &self.most_in_flight];
        for counter in self.requests.iter().chain(counters) {
            counter.store(0, Relaxed);
        }
    }
}
