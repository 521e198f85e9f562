//! The load on the S3 server.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counts since the last reset of the S3 server.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests by operation.
    pub requests: BTreeMap<String, u64>,
    /// Error responses.
    pub errors: u64,
    /// Opened connections.
    pub connections: u64,
    /// Bytes of uploaded objects and parts.
    pub received_bytes: u64,
    /// Bytes of copied parts.
    pub copied_bytes: u64,
    /// Sizes of the uploaded objects by key.
    pub objects: BTreeMap<String, u64>,
    /// The highest number of requests in flight.
    pub max_in_flight: u64,
}

impl Traffic {
    /// Counts a request that increases the number of requests in flight to `in_flight`.
    pub fn count(&mut self, operation: &str, in_flight: u64) {
        *self.requests.entry(operation.to_owned()).or_default() += 1;
        self.max_in_flight = self.max_in_flight.max(in_flight);
    }

    /// Returns the requests as in `128 GET, 1 PUT`.
    #[must_use]
    pub fn requests_text(&self) -> String {
        let requests =
            self.requests.iter().map(|(operation, count)| format!("{count} {operation}"));
        requests.collect::<Vec<_>>().join(", ")
    }
}
