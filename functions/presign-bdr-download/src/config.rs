//! The environment variables of the function. No other module reads them.

use std::time::Duration;

use shared::aws::Trust;
use shared::config::{ConfigError, Environment};
use shared::database::DatabaseSource;

/// The configuration of `presign-bdr-download`.
#[derive(Clone)]
pub struct Config {
    /// `DATABASE_URL` or `DATABASE_SECRET_ARN`.
    pub database: DatabaseSource,
    /// `AWS_CA_BUNDLE`: certificate authorities that the AWS clients trust.
    pub trust: Trust,
    /// `VAULT_BUCKET`.
    pub vault_bucket: String,
    /// Whether S3 requests use path-style addressing.
    pub s3_path_style: bool,
    /// `DOWNLOAD_NAME`: the beginning of a download's file name.
    pub download_name: String,
    /// `DOWNLOAD_URL_TTL_SECONDS`: maximum lifetime of a URL.
    pub url_ttl: Duration,
}

impl Config {
    /// Reads the configuration from the environment.
    ///
    /// # Errors
    /// When a variable is missing or malformed; the error names it.
    pub fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        let url_ttl = environment.parsed(
            "DOWNLOAD_URL_TTL_SECONDS",
            900,
            "a number of seconds from 1 to 3600",
            |seconds| (1..=3600).contains(seconds),
        )?;
        Ok(Self {
            trust: Trust::from_environment(environment)?,
            database: DatabaseSource::from_environment(environment)?,
            vault_bucket: environment.required("VAULT_BUCKET")?.to_owned(),
            s3_path_style: environment.has_s3_endpoint(),
            download_name: environment.parsed(
                "DOWNLOAD_NAME",
                "makapix-artworks".to_owned(),
                "at most 50 lower-case letters, digits and `-`",
                |name| {
                    name.len() <= 50
                        && name.bytes().all(|byte| {
                            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
                        })
                },
            )?,
            url_ttl: Duration::from_secs(url_ttl),
        })
    }
}
