//! What a run and its tasks work with.

use shared::clock::Clock;
use shared::metrics::Metrics;
use shared::queue::Queue;
use shared::request::Requests;
use shared::vault::Vault;

/// The means of a run.
pub struct Cleanup {
    /// The rows of the requests.
    pub requests: Requests,
    /// The vault.
    pub vault: Vault,
    /// Where requests are published.
    pub queue: Queue,
    /// `PURGE_AFTER_DAYS`.
    pub purge_after_days: Option<i32>,
    /// For the age of objects; that of rows goes by the database's clock.
    pub clock: Clock,
    /// Where metrics go.
    pub metrics: Metrics,
}
