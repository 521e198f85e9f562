//! The error of an invocation, as the caller gets it.

use std::error::Error;

use lambda_runtime::Diagnostic;

use crate::database::DatabaseError;
use crate::failure::Failure;

/// The reason why an invocation failed: `errorType` and `errorMessage` of Lambda's response.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct InvocationError {
    kind: ErrorType,
    message: String,
}

/// The values of `errorType`, which callers may rely on (`docs/api.md`).
#[derive(Debug, Clone, Copy)]
enum ErrorType {
    /// The payload is not what the function accepts. The same payload fails again.
    InvalidPayload,
    /// A row holds a value that the contract does not allow; the message names the column.
    MalformedRow,
    /// The database does not respond. A later invocation may succeed.
    DatabaseUnavailable,
    /// Anything else. The log has the cause.
    Internal,
}

impl ErrorType {
    /// Returns the value of `errorType`.
    fn as_str(self) -> &'static str {
        match self {
            Self::InvalidPayload => "InvalidPayload",
            Self::MalformedRow => "MalformedRow",
            Self::DatabaseUnavailable => "DatabaseUnavailable",
            Self::Internal => "Internal",
        }
    }

    /// Returns the type of a failure that a database error caused.
    fn of(error: &DatabaseError) -> Self {
        match error {
            DatabaseError::Malformed { .. } => Self::MalformedRow,
            error if error.is_transient() => Self::DatabaseUnavailable,
            _ => Self::Internal,
        }
    }
}

impl InvocationError {
    /// Creates the error of a payload that the function does not accept. `message` says what it accepts.
    pub fn invalid_payload(message: impl Into<String>) -> Self {
        Self { kind: ErrorType::InvalidPayload, message: message.into() }
    }

    /// Creates the error of an invocation that panicked.
    pub(super) fn panicked() -> Self {
        let message = "the function panicked; its log has the cause".to_owned();
        Self { kind: ErrorType::Internal, message }
    }
}

impl From<Failure> for InvocationError {
    /// The message says what failed. It names the column of a malformed row, but neither addresses nor
    /// names of other services: the log has them.
    fn from(failure: Failure) -> Self {
        let database = failure.source().and_then(|source| source.downcast_ref::<DatabaseError>());
        let (kind, message) = database.map_or_else(
            || (ErrorType::Internal, failure.to_string()),
            |error| (ErrorType::of(error), format!("{failure}: {error}")),
        );
        Self { kind, message }
    }
}

impl From<InvocationError> for Diagnostic {
    fn from(InvocationError { kind, message }: InvocationError) -> Self {
        Self { error_type: kind.as_str().to_owned(), error_message: message }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lambda_runtime::Diagnostic;

    use super::InvocationError;
    use crate::database::DatabaseError;
    use crate::failure::Failure;

    fn diagnostic(error: impl Into<InvocationError>) -> (String, String) {
        let Diagnostic { error_type, error_message } = error.into().into();
        (error_type, error_message)
    }

    #[test]
    fn the_cause_of_a_failure_decides_its_type() {
        for (error, expected, text) in [
            (DatabaseError::malformed("file_path", "no key"), "MalformedRow", "file_path"),
            (DatabaseError::Connect("10.0.0.7".into()), "DatabaseUnavailable", "connect"),
            (DatabaseError::TimedOut(Duration::from_secs(3)), "DatabaseUnavailable", "3 s"),
            (DatabaseError::Contended, "Internal", "changing the row"),
        ] {
            let (kind, message) = diagnostic(error.context("failed to read the request"));
            assert_eq!(kind, expected);
            assert!(message.starts_with("failed to read the request: "), "{message}");
            assert!(message.contains(text) && !message.contains("10.0.0.7"), "{message}");
        }
        let (kind, message) = diagnostic(Failure::retry("failed to sign the URL", "10.0.0.7"));
        assert_eq!(kind, "Internal");
        assert_eq!(message, "failed to sign the URL");
        assert_eq!(diagnostic(InvocationError::invalid_payload("no")).0, "InvalidPayload");
    }
}
