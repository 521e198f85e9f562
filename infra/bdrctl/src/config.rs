//! The environment of the tool. Only this module reads it.

use anyhow::Result;
use aws_config::BehaviorVersion;
use shared::aws::Trust;
use shared::config::Environment;

use crate::operator::Connection;

/// Reads the environment.
///
/// # Errors
/// When it names certificate authorities that cannot be read.
pub(crate) async fn connection() -> Result<Connection> {
    let environment = Environment::of_process();
    let text = |variable| environment.optional(variable).map(str::to_owned);
    let trust = Trust::from_environment(&environment)?;
    let aws = aws_config::defaults(BehaviorVersion::latest())
        .http_client(shared::aws::http_client(&trust))
        .timeout_config(shared::aws::time_limits())
        .load();
    Ok(Connection {
        aws: aws.await,
        s3_path_style: environment.has_s3_endpoint(),
        database_url: text("DATABASE_URL"),
        database_secret: text("DATABASE_SECRET_ARN"),
        database_host: text("DATABASE_HOST"),
    })
}
