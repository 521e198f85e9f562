//! The environment variables of the function. No other module reads them.

use shared::aws::Trust;
use shared::config::{ConfigError, Environment};
use shared::database::DatabaseSource;
use shared::sqid::SqidSource;

/// The configuration of `cleanup-expired-bdrs`.
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
    /// `BDR_QUEUE_URL`.
    pub queue_url: String,
    /// `EXPORT_STATE_MACHINE_ARN`: the state machine of large exports, if there is one.
    pub state_machine_arn: Option<String>,
    /// `SQIDS_ALPHABET`.
    pub sqids: SqidSource,
    /// `PURGE_AFTER_DAYS`; `None` (0) keeps rows forever.
    pub purge_after_days: Option<i32>,
    /// `STACK_NAME`: the dimension `stack` of the metrics.
    pub stack: String,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, in MiB.
    pub memory_mib: u64,
}

impl Config {
    /// Reads the configuration from the environment.
    ///
    /// # Errors
    /// When a variable is missing or malformed; the error names it.
    pub fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        let days = "a number of days from 0 (never) to 36500";
        let purge =
            environment.parsed("PURGE_AFTER_DAYS", 0, days, |days| (0..=36_500).contains(days))?;
        Ok(Self {
            trust: Trust::from_environment(environment)?,
            database: DatabaseSource::from_environment(environment)?,
            vault_bucket: environment.required("VAULT_BUCKET")?.to_owned(),
            s3_path_style: environment.has_s3_endpoint(),
            queue_url: environment.required("BDR_QUEUE_URL")?.to_owned(),
            state_machine_arn: environment.optional("EXPORT_STATE_MACHINE_ARN").map(str::to_owned),
            sqids: SqidSource::new(environment.optional("SQIDS_ALPHABET"))?,
            purge_after_days: (purge > 0).then_some(purge),
            stack: environment.optional("STACK_NAME").unwrap_or("default").to_owned(),
            memory_mib: environment.parsed(
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
                256,
                "a whole number of at least 1",
                |mib| *mib >= 1,
            )?,
        })
    }
}

#[cfg(test)]
mod tests {
    use shared::config::Environment;

    use super::Config;

    #[test]
    fn purging_is_off_by_default() {
        let purge = |days| {
            let variables = [
                ("DATABASE_URL", "postgresql://u@localhost/d"),
                ("VAULT_BUCKET", "vault"),
                ("BDR_QUEUE_URL", "https://sqs.example/q"),
                ("PURGE_AFTER_DAYS", days),
            ];
            Config::from_environment(&Environment::of(variables)).map(|c| c.purge_after_days).ok()
        };
        assert_eq!(purge(""), Some(None));
        assert_eq!(purge("0"), Some(None));
        assert_eq!(purge("90"), Some(Some(90)));
        assert_eq!(purge("-1"), None);
    }
}
