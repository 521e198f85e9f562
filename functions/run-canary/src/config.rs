//! The environment variables of the function. No other module reads them.

use shared::aws::Trust;
use shared::config::{ConfigError, Environment};
use shared::database::DatabaseSource;
use uuid::Uuid;

/// The configuration of `run-canary`.
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
    /// `CANARY_REQUEST_ID`: the request that every run repeats.
    pub bdr_id: Uuid,
    /// `STACK_NAME`: the dimension `stack` of the metrics.
    pub stack: String,
}

impl Config {
    /// Reads the configuration from the environment.
    ///
    /// # Errors
    /// When a variable is missing or malformed; the error names it.
    pub fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        environment.required("CANARY_REQUEST_ID")?;
        let bdr_id = environment.parsed(
            "CANARY_REQUEST_ID",
            Uuid::nil(),
            "the id of a request, a UUID",
            |id: &Uuid| !id.is_nil(),
        )?;
        Ok(Self {
            trust: Trust::from_environment(environment)?,
            database: DatabaseSource::from_environment(environment)?,
            vault_bucket: environment.required("VAULT_BUCKET")?.to_owned(),
            s3_path_style: environment.has_s3_endpoint(),
            queue_url: environment.required("BDR_QUEUE_URL")?.to_owned(),
            bdr_id,
            stack: environment.optional("STACK_NAME").unwrap_or("default").to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use shared::config::Environment;

    use super::Config;

    #[test]
    fn the_request_is_required_and_a_uuid() {
        let read = |id| {
            let variables = [
                ("DATABASE_URL", "postgresql://u@localhost/d"),
                ("VAULT_BUCKET", "vault"),
                ("BDR_QUEUE_URL", "https://sqs.example/q"),
                ("CANARY_REQUEST_ID", id),
            ];
            Config::from_environment(&Environment::of(variables)).map(|config| config.bdr_id)
        };
        let id = "0198f3c2-7c1e-7d3a-9b52-4f0a1c2d3e4f";
        assert_eq!(read(id).map(|id| id.to_string()).ok().as_deref(), Some(id));
        for wrong in ["", "7", "00000000-0000-0000-0000-000000000000"] {
            let error = read(wrong).map_err(|error| error.to_string()).unwrap_err();
            assert!(error.contains("CANARY_REQUEST_ID"), "{error}");
        }
    }
}
