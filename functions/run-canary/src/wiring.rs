//! Builds the function from its configuration. Creates clients but sends no request.

use std::sync::Arc;

use aws_config::SdkConfig;
use shared::clock::Clock;
use shared::database::{Database, SecretReader};
use shared::metrics::Metrics;
use shared::queue::Queue;
use shared::request::Requests;
use shared::vault::Vault;

use crate::canary::Canary;
use crate::config::Config;
use crate::handler::Handler;

/// The function's memory in MiB, for the cost of a run, which it does not report.
const MEMORY_MIB: u64 = 128;

/// Builds the handler from `config`, with AWS clients from `aws`.
#[must_use]
pub fn handler(config: Config, aws: &SdkConfig) -> Handler {
    let database = Arc::new(Database::new(config.database, Some(SecretReader::new(aws))));
    let canary = Canary {
        requests: Requests::new(database),
        vault: Vault::new(shared::aws::s3(aws, config.s3_path_style), &config.vault_bucket),
        queue: Queue::new(aws_sdk_sqs::Client::new(aws), config.queue_url),
        bdr_id: config.bdr_id,
    };
    Handler { canary, metrics: Metrics::to_stdout(Clock::system(), &config.stack, MEMORY_MIB) }
}
