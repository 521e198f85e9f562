//! Reads the database's secret from Secrets Manager, also during a rotation.

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::SdkError;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;

use super::BoxError;

/// The staging label of the new version of a secret, until the rotation makes it `AWSCURRENT`.
const PENDING: &str = "AWSPENDING";

/// A reader of secrets.
#[derive(Clone)]
pub struct SecretReader(Client);

impl SecretReader {
    /// Creates a reader with the SDK's configuration.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self(Client::new(config))
    }

    /// Returns the current text of the secret with this ARN.
    pub(super) async fn read(&self, arn: &str) -> Result<String, BoxError> {
        let response = self.0.get_secret_value().secret_id(arn).send().await?;
        response
            .secret_string
            .ok_or_else(|| "the database secret has no text (SecretString)".into())
    }

    /// Returns the text of the secret after the database rejected the current password.
    ///
    /// A rotation changes the password in the database first and makes the new version current
    /// second. In between, the pending version is valid. Without a pending version the rotation has
    /// ended, and the current version is valid.
    pub(super) async fn read_after_rejection(&self, arn: &str) -> Result<String, BoxError> {
        let pending = self.0.get_secret_value().secret_id(arn).version_stage(PENDING);
        let pending = match pending.send().await.map_err(SdkError::into_service_error) {
            Ok(response) => response.secret_string,
            Err(GetSecretValueError::ResourceNotFoundException(_)) => None,
            Err(error) => return Err(error.into()),
        };
        match pending {
            Some(text) => Ok(text),
            None => self.read(arn).await,
        }
    }
}
