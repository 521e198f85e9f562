//! The clients and settings of a run.

use shared::clock::Clock;
use shared::executions::Executions;
use shared::metrics::Metrics;
use shared::queue::Queue;
use shared::request::Requests;
use shared::sqid::SqidSource;
use shared::vault::Vault;

/// The clients and settings that a run and its tasks use.
pub struct Cleanup {
    /// The rows of the requests.
    pub requests: Requests,
    /// The vault.
    pub vault: Vault,
    /// The queue to publish requests to.
    pub queue: Queue,
    /// The state machine of large exports, if there is one.
    pub executions: Option<Executions>,
    /// The source of public ids, for the key of a ZIP.
    pub sqids: SqidSource,
    /// `PURGE_AFTER_DAYS`.
    pub purge_after_days: Option<i32>,
    /// The clock for the age of objects. The age of rows uses the database's clock.
    pub clock: Clock,
    /// The output of metrics.
    pub metrics: Metrics,
}
