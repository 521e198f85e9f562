//! Puts the parts of the function together. Makes clients, but calls nobody.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_ses::config::retry::RetryConfig;
use aws_sdk_ses::config::timeout::TimeoutConfig;
use lambda_runtime::Error;
use shared::clock::Clock;
use shared::database::{Database, SecretReader};
use shared::metrics::Metrics;
use shared::queue::Queue;
use shared::request::Requests;
use shared::vault::Vault;

use crate::artwork::Fetcher;
use crate::config::Config;
use crate::handler::Handler;
use crate::job::Job;
use crate::notify::Notifier;
use crate::remote::Remote;

/// Longest wait for a change of a visibility timeout: the last one must fit before the deadline.
const SQS_LIMIT: Duration = Duration::from_secs(5);
/// Longest wait for SES. Beyond it nobody knows whether the e-mail went out.
const SES_LIMIT: Duration = Duration::from_secs(10);

/// The function, as `config` says, with clients by `aws`.
///
/// # Errors
/// When the TLS configuration cannot be made.
pub fn handler(config: Config, aws: &SdkConfig) -> Result<Handler, Error> {
    if config.memory.lowered {
        tracing::warn!(
            max_artwork_bytes = config.memory.max_artwork_bytes,
            "the function has too little memory for MAX_ARTWORK_BYTES; the limit was lowered"
        );
    }
    let clock = Clock::system();
    let database = Arc::new(Database::new(config.database, Some(SecretReader::new(aws))));
    let vault = Vault::new(shared::aws::s3(aws, config.s3_path_style), &config.vault_bucket);
    let remote = Arc::new(Remote::new(config.remote_allow_hosts)?);
    let ses = aws_sdk_ses::config::Builder::from(aws)
        // A retry after a lost answer would send a second e-mail; so none may be lost to a pooled
        // connection that died in a freeze.
        .http_client(shared::aws::unpooled_http_client(&config.trust))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(SES_LIMIT).build())
        .build();
    let ses = aws_sdk_ses::Client::from_conf(ses);
    let job = Job {
        requests: Requests::new(Arc::clone(&database)),
        database,
        fetcher: Fetcher::new(vault.clone(), remote, config.memory).accepting(config.extra_formats),
        vault,
        notifier: Notifier::new(ses, config.email_from),
        sqids: config.sqids,
        clock: clock.clone(),
        email_on_failure: config.email_on_failure,
        base_url: config.base_url,
        expires_after_days: config.expires_after_days,
    };
    let sqs = aws_sdk_sqs::config::Builder::from(aws)
        .timeout_config(TimeoutConfig::builder().operation_timeout(SQS_LIMIT).build())
        .build();
    Ok(Handler {
        job,
        queue: Queue::new(aws_sdk_sqs::Client::from_conf(sqs), config.queue_url),
        lease: config.lease,
        retry_base: config.retry_base,
        max_receive_count: config.max_receive_count,
        metrics: Metrics::to_stdout(clock.clone(), config.memory_mib),
        clock,
    })
}
