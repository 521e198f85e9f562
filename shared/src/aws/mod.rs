//! The configuration of the AWS SDK, shared by all clients of a function.

mod connect;
mod connections;
mod early;
mod gradual;
mod http;
mod resolve;
mod trust;

use std::fmt;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::retry::{RetryPartition, TokenBucket};
use aws_sdk_s3::config::{
    Credentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
    SharedHttpClient,
};
use aws_smithy_runtime_api::shared::IntoShared;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

pub use connections::{Connections, EarlyConnections};
pub(crate) use http::Http;
pub use trust::Trust;

use crate::config::Environment;
use connect::Connector;

/// Time limit for the head of a response, the connection and the sending of the request included.
/// A part of 28 MiB in 30 s is 0.9 MiB/s, well below the bandwidth of a function.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Attempts per request: the first one and 2 retries, with the SDK's jittered backoff.
const MAX_ATTEMPTS: u32 = 3;

/// Reads region, credentials and endpoints from the SDK's variables: `AWS_REGION`,
/// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_ENDPOINT_URL` and
/// `AWS_ENDPOINT_URL_<SERVICE>`, `AWS_USE_FIPS_ENDPOINT`, `AWS_USE_DUALSTACK_ENDPOINT`.
///
/// Lambda sets only these, and its credentials are valid as long as the process. The SDK's default
/// chain (profiles, web identities, metadata services of EC2 and ECS) would add code to load at
/// every cold start.
#[must_use]
pub fn from_environment(environment: &Environment, trust: &Trust) -> SdkConfig {
    let text = |variable| environment.optional(variable).map(str::to_owned);
    let is_on = |variable| text(variable).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(text("AWS_REGION").or_else(|| text("AWS_DEFAULT_REGION")).map(Region::new))
        .service_config(ServiceSettings(environment.clone()))
        .use_fips(is_on("AWS_USE_FIPS_ENDPOINT"))
        .use_dual_stack(is_on("AWS_USE_DUALSTACK_ENDPOINT"))
        .http_client(http_client(trust))
        .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
        .timeout_config(time_limits())
        // Off: it mistakes back-pressure for a stalled server. Bodies have their own time limits.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    config.set_endpoint_url(text("AWS_ENDPOINT_URL"));
    let keys = text("AWS_ACCESS_KEY_ID").zip(text("AWS_SECRET_ACCESS_KEY"));
    config.set_credentials_provider(keys.map(|(id, secret)| {
        let credentials =
            Credentials::new(id, secret, text("AWS_SESSION_TOKEN"), None, "Environment");
        SharedCredentialsProvider::new(credentials)
    }));
    config.build()
}

/// The settings that the SDK looks up for one service first, such as `AWS_ENDPOINT_URL_S3`, and for
/// all services second.
struct ServiceSettings(Environment);

impl LoadServiceConfig for ServiceSettings {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().replace(' ', "_").to_uppercase();
        let of_service = self.0.optional(&format!("{}_{service}", key.env()));
        of_service.or_else(|| self.0.optional(key.env())).map(str::to_owned)
    }
}

impl fmt::Debug for ServiceSettings {
    /// Omits the values, because they include credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceSettings")
    }
}

/// Creates an HTTP client that reuses its connections.
#[must_use]
pub fn http_client(trust: &Trust) -> SharedHttpClient {
    Http::pooled(Connector::new(trust)).into_shared()
}

/// Creates an HTTP client that opens a connection for every request.
#[must_use]
pub fn unpooled_http_client(trust: &Trust) -> SharedHttpClient {
    Http::unpooled(Connector::new(trust)).into_shared()
}

/// Returns the time limits of a request. A connection has its own time limit.
#[must_use]
pub fn time_limits() -> TimeoutConfig {
    TimeoutConfig::builder().read_timeout(READ_TIMEOUT).build()
}

/// Attempts of a call to S3, with jittered backoff of up to 0.5, 1, 2, 4 and 8 s
/// on average: 15 s in all, which outlasts a burst of throttling. The caller's deadline bounds them.
const S3_ATTEMPTS: u32 = 6;

/// Creates an S3 client. `path_style` is for endpoints without a host name per bucket.
///
/// Every upload carries a CRC32 that S3 verifies. The SDK does not verify downloads: the lean client sends
/// those of artworks, and their CRC32 is compared where it is needed for the ZIP anyway.
#[must_use]
pub fn s3(config: &SdkConfig, path_style: bool) -> aws_sdk_s3::Client {
    aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(config)
            .force_path_style(path_style)
            .retry_config(RetryConfig::standard().with_max_attempts(S3_ATTEMPTS))
            // The SDK's retry quota is one for the process: after some 100 retries within a burst every
            // further error would be final, those of parts included.
            .retry_partition(
                RetryPartition::custom("vault").token_bucket(TokenBucket::unlimited()).build(),
            )
            .request_checksum_calculation(RequestChecksumCalculation::WhenSupported)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build(),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_s3::presigning::PresigningConfig;

    use super::{Trust, from_environment};
    use crate::config::Environment;

    #[tokio::test]
    async fn the_variables_of_the_sdk_are_read() {
        let variables = [
            ("AWS_REGION", "eu-north-1"),
            ("AWS_ENDPOINT_URL", "http://all"),
            ("AWS_ENDPOINT_URL_S3", "http://s3"),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://secrets"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "token"),
        ];
        let read = |variables: &[(&str, &str)]| {
            let environment = Environment::of(variables.iter().copied());
            from_environment(&environment, &Trust::from_environment(&environment).unwrap())
        };
        let fips = read(&[("AWS_USE_FIPS_ENDPOINT", "true")]);
        assert_eq!((fips.use_fips(), fips.use_dual_stack()), (Some(true), Some(false)));
        let config = read(&variables);
        assert_eq!(config.region().unwrap().as_ref(), "eu-north-1");
        assert_eq!(config.endpoint_url(), Some("http://all"));
        let endpoint = |service_id| {
            let key = super::ServiceConfigKey::builder()
                .service_id(service_id)
                .env("AWS_ENDPOINT_URL")
                .profile("endpoint_url")
                .build();
            config.service_config().unwrap().load_config(key.unwrap())
        };
        assert_eq!(endpoint("S3").unwrap(), "http://s3");
        assert_eq!(endpoint("Secrets Manager").unwrap(), "http://secrets");
        assert_eq!(endpoint("SQS").unwrap(), "http://all");
        let presigned = super::s3(&config, true).get_object().bucket("b").key("k");
        let expiry = PresigningConfig::expires_in(Duration::from_mins(1)).unwrap();
        let presigned = presigned.presigned(expiry).await.unwrap();
        let url = presigned.uri();
        assert!(url.starts_with("http://s3/b/k?"), "{url}");
        for part in ["X-Amz-Credential=id%2F", "eu-north-1", "X-Amz-Security-Token=token"] {
            assert!(url.contains(part), "{part}: {url}");
        }
        let debug = format!("{config:?}");
        assert!(!debug.contains("secret\"") && !debug.contains("token\""), "a log may contain it");
    }
}
