//! Builds the function from its configuration. Creates clients but sends no request.

use std::sync::Arc;

use aws_config::SdkConfig;
use shared::clock::Clock;
use shared::database::{Database, SecretReader};
use shared::executions::Executions;
use shared::metrics::Metrics;
use shared::queue::Queue;
use shared::request::Requests;
use shared::vault::Vault;

use crate::config::Config;
use crate::context::Cleanup;
use crate::handler::Handler;

/// Builds the handler from `config`, with AWS clients from `aws`.
#[must_use]
pub fn handler(config: Config, aws: &SdkConfig) -> Handler {
    let clock = Clock::system();
    let database = Arc::new(Database::new(config.database, Some(SecretReader::new(aws))));
    let cleanup = Cleanup {
        requests: Requests::new(database),
        vault: Vault::new(shared::aws::s3(aws, config.s3_path_style), &config.vault_bucket),
        queue: Queue::new(aws_sdk_sqs::Client::new(aws), config.queue_url),
        executions: config.state_machine_arn.map(|arn| Executions::new(aws, arn)),
        sqids: config.sqids,
        purge_after_days: config.purge_after_days,
        metrics: Metrics::to_stdout(clock.clone(), &config.stack, config.memory_mib),
        clock: clock.clone(),
    };
    Handler { cleanup, clock }
}
