//! The AWS SDK's configuration, one for all clients of a function.

mod connect;
mod http;
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

pub use trust::Trust;

use crate::config::Environment;
use connect::Connector;
use http::Http;

/// Longest wait for the head of an answer, the connection and the sending of the request included:
/// 8 MiB in 30 s is a tenth of the bandwidth of the smallest function.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Tries a request: the first one and two more, with the SDK's jittered backoff.
const ATTEMPTS: u32 = 3;

/// Region, credentials and endpoints from the environment, in the SDK's variables: `AWS_REGION`,
/// `AWS_ACCESS_KEY_ID` and those that go with it, `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_<SERVICE>`,
/// `AWS_USE_FIPS_ENDPOINT`, `AWS_USE_DUALSTACK_ENDPOINT`.
///
/// Lambda puts them there, and nowhere else, and its credentials last as long as the process. The SDK's
/// own search (profiles, web identities, metadata services of EC2 and ECS) would be code to load at every
/// cold start.
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
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(time_limits())
        // It mistakes back-pressure for a stalled peer; bodies have time limits of their own.
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

/// Settings that the SDK looks up service by service, such as `AWS_ENDPOINT_URL_S3`, and then for all of
/// them.
struct ServiceSettings(Environment);

impl LoadServiceConfig for ServiceSettings {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().replace(' ', "_").to_uppercase();
        let of_service = self.0.optional(&format!("{}_{service}", key.env()));
        of_service.or_else(|| self.0.optional(key.env())).map(str::to_owned)
    }
}

impl fmt::Debug for ServiceSettings {
    /// Without the values: there are credentials among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceSettings")
    }
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

/// Attempts of a call to S3 that the SDK makes by itself, with jittered backoff of up to 0.5, 1, 2, 4 and 8 s
/// on average: 15 s in all, which outlasts a burst of throttling. The caller's deadline bounds them.
const S3_ATTEMPTS: u32 = 6;

/// The S3 client. `path_style` goes with endpoints that have no host name per bucket.
///
/// Checksums: every upload carries a CRC32 that S3 verifies; downloads are protected by TLS, their
/// length and the CRC32 of the ZIP, and are not hashed again.
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
    async fn the_sdks_variables_are_understood() {
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
        assert!(!debug.contains("secret\"") && !debug.contains("token\""), "it may be logged");
    }
}
