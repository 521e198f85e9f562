//! Builds the function from its configuration. Creates clients but sends no request.

use std::sync::Arc;

use aws_config::SdkConfig;
use shared::database::{Database, SecretReader};
use shared::request::Requests;
use shared::vault::Vault;

use crate::config::Config;
use crate::handler::Handler;

/// Builds the handler from `config`, with AWS clients from `aws`.
#[must_use]
pub fn handler(config: Config, aws: &SdkConfig) -> Handler {
    let database = Arc::new(Database::new(config.database, Some(SecretReader::new(aws))));
    Handler {
        requests: Requests::new(database),
        vault: Vault::new(shared::aws::s3(aws, config.s3_path_style), &config.vault_bucket),
        url_ttl: config.url_ttl,
        download_name: config.download_name,
    }
}
