//! Reading the database's secret from Secrets Manager, also while it is being rotated.

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::SdkError;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;

use super::BoxError;

/// The label that Secrets Manager gives to the version that a rotation has made, until the rotation
/// makes it the current one.
const PENDING: &str = "AWSPENDING";

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
    pub(super) async fn read(&self, arn: &str) -> Result<String, BoxError> {
        let answer = self.0.get_secret_value().secret_id(arn).send().await?;
        answer.secret_string.ok_or_else(|| "the database secret holds no text".into())
    }

    /// The text of the secret after the database has refused the one that was current.
    ///
    /// A rotation changes the password in the database first and the current version second: in
    /// between, the pending version is the one that fits. Without a pending one the rotation has
    /// ended meanwhile, and the current version fits.
    pub(super) async fn read_after_rejection(&self, arn: &str) -> Result<String, BoxError> {
        let pending = self.0.get_secret_value().secret_id(arn).version_stage(PENDING);
        let pending = match pending.send().await.map_err(SdkError::into_service_error) {
            Ok(answer) => answer.secret_string,
            Err(GetSecretValueError::ResourceNotFoundException(_)) => None,
            Err(error) => return Err(error.into()),
        };
        match pending {
            Some(text) => Ok(text),
            None => self.read(arn).await,
        }
    }
}
