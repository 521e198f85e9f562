//! Typed access to environment variables, with errors that name the variable.
//!
//! Each function lists its variables in its own `config.rs`; no other module reads the environment.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::str::FromStr;

/// A snapshot of environment variables. An empty value counts as unset, because a template can set
/// a variable to an empty value more easily than omit it.
#[derive(Debug, Clone, Default)]
pub struct Environment(HashMap<String, String>);

/// A variable that is missing or malformed. The function does not start and logs this error.
#[derive(Debug, thiserror::Error)]
#[error("environment variable {variable} {problem}")]
pub struct ConfigError {
    /// The name of the variable.
    pub variable: &'static str,
    /// The problem, as the rest of a sentence. Never holds the value, which may be secret.
    pub problem: String,
}

impl Environment {
    /// Returns the environment of this process, without variables that are not UTF-8.
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

    /// Creates an environment of these variables only.
    pub fn of<N: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self(variables.into_iter().map(|(n, v)| (n.into(), v.into())).collect())
    }

    /// Returns the value of `variable`, if it is set.
    #[must_use]
    pub fn optional(&self, variable: &str) -> Option<&str> {
        self.0.get(variable).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns the value of `variable`.
    ///
    /// # Errors
    /// When it is not set.
    pub fn required(&self, variable: &'static str) -> Result<&str, ConfigError> {
        self.optional(variable).ok_or_else(|| ConfigError::new(variable, "is not set"))
    }

    /// Returns the value of `variable`, or `default` when it is not set.
    ///
    /// # Errors
    /// When the value is not a `T`, or `accept` rejects it. `meaning` completes "must be …".
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

    /// Returns the comma-separated entries of `variable`, trimmed and in lower case; an empty set
    /// when it is not set.
    ///
    /// # Errors
    /// When `accept` rejects an entry. `meaning` completes "must be …".
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

    /// Returns whether a custom endpoint is set for all services or for S3. Such an endpoint has no
    /// host name per bucket and needs path-style addressing.
    #[must_use]
    pub fn has_s3_endpoint(&self) -> bool {
        self.optional("AWS_ENDPOINT_URL").is_some()
            || self.optional("AWS_ENDPOINT_URL_S3").is_some()
    }
}

impl ConfigError {
    /// Creates an error: `variable` `problem` ("is not set", "must be …").
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
