//! Constructs the function's parts. Makes no network call.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_ses::config::retry::RetryConfig;
use aws_sdk_ses::config::timeout::TimeoutConfig;
use lambda_runtime::Error;
use shared::aws::Connections;
use shared::clock::Clock;
use shared::database::{Database, SecretReader};
use shared::executions::Executions;
use shared::metrics::Metrics;
use shared::queue::Queue;
use shared::request::Requests;
use shared::trace::Tracer;
use shared::vault::Vault;

use crate::archive::Archiver;
use crate::artwork::{CopyTerms, Fetcher, Formats};
use crate::config::Config;
use crate::email::{Mailer, Notifier};
use crate::handler::Handler;
use crate::job::Job;
use crate::remote::{Limits, Remote, Web, user_agent};

/// Time limit of a `ChangeMessageVisibility` call: the last one must fit before the deadline.
const SQS_LIMIT: Duration = Duration::from_secs(5);
/// Time limit of a `SendEmail` call. After a timeout the e-mail may or may not have been sent.
const SES_LIMIT: Duration = Duration::from_secs(10);

/// Returns the handler for `config`, with AWS clients by `aws`.
///
/// # Errors
/// When the TLS configuration is invalid.
pub fn handler(config: Config, aws: &SdkConfig) -> Result<Handler, Error> {
    if config.memory.lowered {
        tracing::warn!(
            max_artwork_bytes = config.memory.max_artwork_bytes,
            "lowered MAX_ARTWORK_BYTES to fit the function's memory"
        );
    }
    let clock = Clock::system();
    let database = Arc::new(Database::new(config.database, Some(SecretReader::new(aws))));
    let connections = Connections::new(&config.trust);
    let s3 = aws.to_builder().http_client(connections.http_client()).build();
    let vault = Vault::new(shared::aws::s3(&s3, config.s3_path_style), &config.vault_bucket)
        .opening(connections);
    let web = Web {
        user_agent: user_agent(Some(&config.base_url)),
        // The same patience as with a request: half of the first delay before a retry.
        limits: Limits { recovery: config.retry_base / 2, ..Limits::default() },
        ..Web::default()
    };
    let remote = Arc::new(Remote::new(web, config.remote_allow_hosts));
    let ses = aws_sdk_ses::config::Builder::from(aws)
        // A retry after a lost response would send a second e-mail, so retries are off. Without a
        // pool, no call fails on a connection that died while the function was frozen.
        .http_client(shared::aws::unpooled_http_client(&config.trust))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(SES_LIMIT).build())
        .build();
    let ses = aws_sdk_ses::Client::from_conf(ses);
    let copies = CopyTerms::new(config.prefer, &config.memory, config.extras.checksums);
    let executions = config.state_machine_arn.map(|arn| Executions::new(aws, arn));
    let job = Job {
        requests: Requests::new(Arc::clone(&database)),
        archiver: Archiver {
            fetcher: Fetcher::new(vault.clone(), remote, config.memory)
                .accepting(Formats::with_extra(config.extra_formats))
                .publishing(config.vault_urls)
                .copying(copies),
            vault,
            clock: clock.clone(),
            base_url: config.base_url.clone(),
            wording: config.wording.clone(),
            artworks_folder: config.artworks_folder,
            extras: config.extras,
            limits: config.limits,
            segments: executions.is_some().then_some(config.segments),
        },
        notifier: Notifier {
            mailer: Mailer::new(ses, config.email_from, config.email_configuration_set),
            database: Arc::clone(&database),
            sqids: config.sqids.clone(),
            wording: config.wording,
            base_url: config.base_url,
            artist_path: config.artist_path,
            email_on_failure: config.email_on_failure,
        },
        database,
        sqids: config.sqids,
        expires_after_days: config.expires_after_days,
        executions,
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
        tracer: Tracer::new(
            config.otlp_endpoint,
            &config.trust,
            clock.clone(),
            env!("CARGO_PKG_NAME"),
            &config.stack,
        ),
        metrics: Metrics::to_stdout(clock.clone(), &config.stack, config.memory_mib),
        clock,
    })
}
