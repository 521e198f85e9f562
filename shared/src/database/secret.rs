//! Reading the database's secret from Secrets Manager.

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;

/// Reads secrets.
#[derive(Clone)]
pub struct SecretReader(Client);

impl SecretReader {
    /// With the SDK's configuration.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self(Client::new(config))
    }

    /// The current text of the secret with this ARN.
    pub(super) async fn read(
        &self,
        arn: &str,
    ) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        let answer = self.0.get_secret_value().secret_id(arn).send().await?;
        answer.secret_string.ok_or_else(|| "the database secret holds no text".into())
    }
}
