//! The environment of the tool. Nothing else reads it.

use anyhow::Result;
use aws_config::{BehaviorVersion, SdkConfig};
use shared::aws::Trust;
use shared::config::Environment;

/// What the environment says.
pub(crate) struct Config {
    /// Region, credentials and endpoints, as the SDK finds them.
    pub(crate) aws: SdkConfig,
    /// Whether S3 lives at an endpoint without host names per bucket.
    pub(crate) s3_path_style: bool,
    /// `DATABASE_URL`.
    pub(crate) database_url: Option<String>,
    /// `DATABASE_SECRET_ARN`.
    pub(crate) database_secret: Option<String>,
}

impl Config {
    /// Reads the environment.
    pub(crate) async fn from_environment() -> Result<Self> {
        let environment = Environment::of_process();
        let text = |variable| environment.optional(variable).map(str::to_owned);
        let trust = Trust::from_environment(&environment)?;
        let aws = aws_config::defaults(BehaviorVersion::latest())
            .http_client(shared::aws::http_client(&trust))
            .timeout_config(shared::aws::time_limits())
            .load();
        Ok(Self {
            aws: aws.await,
            s3_path_style: environment.has_s3_endpoint(),
            database_url: text("DATABASE_URL"),
            database_secret: text("DATABASE_SECRET_ARN"),
        })
    }
}
