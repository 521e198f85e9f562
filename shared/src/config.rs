//! Reading the environment: typed, and with errors that name the variable.
//!
//! Each function has a `config.rs` of its own that lists its variables; nothing else reads the
//! environment.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::str::FromStr;

/// A snapshot of environment variables. An empty value counts as unset, because a template cannot
/// leave a variable out as easily as it can leave it empty.
#[derive(Debug, Clone, Default)]
pub struct Environment(HashMap<String, String>);

/// A variable that is missing or malformed. Its text is the one line that stops the function.
#[derive(Debug, thiserror::Error)]
#[error("environment variable {variable} {problem}")]
pub struct ConfigError {
    /// The variable's name.
    pub variable: &'static str,
    /// What is wrong with it, as the rest of a sentence. Never holds the value, which may be secret.
    pub problem: String,
}

impl Environment {
    /// The environment of this process. Variables that are not UTF-8 are left out.
    #[must_use]
    pub fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        )
    }

    /// An environment of just these variables.
    pub fn of<N: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self(variables.into_iter().map(|(n, v)| (n.into(), v.into())).collect())
    }

    /// The value of `variable`, if it is set.
    #[must_use]
    pub fn optional(&self, variable: &str) -> Option<&str> {
        self.0.get(variable).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The value of `variable`.
    ///
    /// # Errors
    /// When it is not set.
    pub fn required(&self, variable: &'static str) -> Result<&str, ConfigError> {
        self.optional(variable).ok_or_else(|| ConfigError::new(variable, "is not set"))
    }

    /// The value of `variable`, or `default` when it is not set.
    ///
    /// # Errors
    /// When it is set to something that is not a `T`, or that `accept` refuses; `meaning` completes
    /// "must be …".
    pub fn parsed<T: FromStr + Display>(
        &self,
        variable: &'static str,
        default: T,
        meaning: &str,
        accept: impl FnOnce(&T) -> bool,
    ) -> Result<T, ConfigError> {
        match self.optional(variable) {
            None => Ok(default),
            Some(text) => text
                .trim()
                .parse()
                .ok()
                .filter(accept)
                .ok_or_else(|| ConfigError::new(variable, format!("must be {meaning}"))),
        }
    }

    /// The entries of `variable`, which commas separate, trimmed and in lower case; none when it is
    /// not set.
    ///
    /// # Errors
    /// When there is an entry that `accept` refuses; `meaning` completes "must be …".
    pub fn list(
        &self,
        variable: &'static str,
        meaning: &str,
        accept: impl Fn(&str) -> bool,
    ) -> Result<HashSet<String>, ConfigError> {
        let Some(text) = self.optional(variable) else { return Ok(HashSet::new()) };
        let entries = text.split(',').map(|entry| entry.trim().to_ascii_lowercase());
        entries
            .map(|entry| accept(&entry).then_some(entry))
            .collect::<Option<_>>()
            .ok_or_else(|| ConfigError::new(variable, format!("must be {meaning}")))
    }

    /// Whether the AWS SDK was pointed at an endpoint of one's own, for all services or for S3;
    /// such endpoints have no host name per bucket.
    #[must_use]
    pub fn has_s3_endpoint(&self) -> bool {
        self.optional("AWS_ENDPOINT_URL").is_some()
            || self.optional("AWS_ENDPOINT_URL_S3").is_some()
    }
}

impl ConfigError {
    /// `variable` is unusable because it `problem` ("is not set", "must be …").
    pub fn new(variable: &'static str, problem: impl Into<String>) -> Self {
        Self { variable, problem: problem.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::Environment;

    #[test]
    fn errors_name_the_variable_and_hide_the_value() {
        let environment = Environment::of([("LEASE_SECONDS", "hunter2"), ("EMPTY", "")]);
        let malformed = environment.parsed("LEASE_SECONDS", 1_u32, "a number of seconds", |_| true);
        assert_eq!(
            malformed.unwrap_err().to_string(),
            "environment variable LEASE_SECONDS must be a number of seconds"
        );
        assert_eq!(
            environment.required("EMPTY").unwrap_err().to_string(),
            "environment variable EMPTY is not set"
        );
        assert_eq!(environment.parsed("ABSENT", 7_u32, "a number", |_| true).unwrap(), 7);
    }
}
