//! The AWS SDK's configuration, one for all clients of a function.

mod connect;
mod http;
mod trust;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::config::{
    RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
};
use aws_smithy_runtime_api::shared::IntoShared;

pub use trust::Trust;

use connect::Connector;
use http::Http;

/// Longest wait for the head of an answer, the connection and the sending of the request included:
/// 8 MiB in 30 s is a tenth of the bandwidth of the smallest function.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Tries a request: the first one and two more, with the SDK's jittered backoff.
const ATTEMPTS: u32 = 3;

/// Region, credentials and endpoints from the environment, as the SDK defines them.
pub async fn load(trust: &Trust) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client(trust))
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(time_limits())
        // It mistakes back-pressure for a stalled peer; bodies have time limits of their own.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .load()
        .await
}

/// The HTTP client of all AWS clients but those that need one of their own.
#[must_use]
pub fn http_client(trust: &Trust) -> SharedHttpClient {
    Http::pooled(Connector::new(trust)).into_shared()
}

/// An HTTP client that opens a connection for every request.
#[must_use]
pub fn unpooled_http_client(trust: &Trust) -> SharedHttpClient {
    Http::unpooled(Connector::new(trust)).into_shared()
}

/// How long AWS is waited for, request by request. A connection has a time limit of its own.
#[must_use]
pub fn time_limits() -> TimeoutConfig {
    TimeoutConfig::builder().read_timeout(READ_TIMEOUT).build()
}

/// The S3 client. `path_style` goes with endpoints that have no host name per bucket.
///
/// Checksums: every upload carries a CRC32 that S3 verifies; downloads are protected by TLS, their
/// length and the CRC32 of the ZIP, and are not hashed again.
#[must_use]
pub fn s3(config: &SdkConfig, path_style: bool) -> aws_sdk_s3::Client {
    aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(config)
            .force_path_style(path_style)
            .request_checksum_calculation(RequestChecksumCalculation::WhenSupported)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build(),
    )
}
