//! The error of an invocation, as the caller gets it.

use std::error::Error;

use lambda_runtime::Diagnostic;

use crate::database::DatabaseError;
use crate::failure::{Decision, Failure};

/// The reason why an invocation failed: `errorType` and `errorMessage` of Lambda's response.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct InvocationError {
    kind: ErrorType,
    message: String,
}

/// The values of `errorType`, which callers may rely on (`docs/api.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorType {
    /// The payload is not what the function accepts. The same payload fails again.
    InvalidPayload,
    /// A row holds a value that the contract does not allow; the message names the column.
    MalformedRow,
    /// The database does not respond. A later invocation may succeed.
    DatabaseUnavailable,
    /// The request is larger than what is served.
    RequestTooLarge,
    /// Another failure that occurs again until its cause is mended. The log has the cause.
    LastingFault,
    /// Anything else. The log has the cause.
    Internal,
}

impl ErrorType {
    /// All types.
    pub const ALL: [Self; 6] = [
        Self::InvalidPayload,
        Self::MalformedRow,
        Self::DatabaseUnavailable,
        Self::RequestTooLarge,
        Self::LastingFault,
        Self::Internal,
    ];

    /// Returns the type with this value of `errorType`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Returns the value of `errorType`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidPayload => "InvalidPayload",
            Self::MalformedRow => "MalformedRow",
            Self::DatabaseUnavailable => "DatabaseUnavailable",
            Self::RequestTooLarge => "RequestTooLarge",
            Self::LastingFault => "LastingFault",
            Self::Internal => "Internal",
        }
    }

    /// Returns whether the same invocation fails again.
    #[must_use]
    pub fn is_permanent(self) -> bool {
        match self {
            Self::InvalidPayload
            | Self::MalformedRow
            | Self::RequestTooLarge
            | Self::LastingFault => true,
            Self::DatabaseUnavailable | Self::Internal => false,
        }
    }

    /// Returns the type of a failure that no database error caused.
    fn of(failure: &Failure) -> Self {
        match failure.decision() {
            Decision::Retry => Self::Internal,
            Decision::Fail if failure.is_too_large() => Self::RequestTooLarge,
            Decision::Fail => Self::LastingFault,
        }
    }

    /// Returns the type of a failure that a database error caused.
    fn of_database(error: &DatabaseError) -> Self {
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

    /// Returns `errorType`.
    #[must_use]
    pub fn error_type(&self) -> ErrorType {
        self.kind
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
            || (ErrorType::of(&failure), failure.to_string()),
            |error| (ErrorType::of_database(error), format!("{failure}: {error}")),
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

    use super::{ErrorType, InvocationError};
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

    #[test]
    fn the_decision_about_a_failure_is_in_its_type() {
        for (failure, name, is_permanent) in [
            (Failure::retry("failed to read", "reset"), "Internal", false),
            (DatabaseError::Contended.context("failed to read"), "Internal", false),
            (DatabaseError::malformed("id", "no").context("failed to read"), "MalformedRow", true),
            (Failure::permanent_fault("failed to read", "malformed"), "LastingFault", true),
            (Failure::permanent("no posts found", "They are gone."), "LastingFault", true),
            (Failure::too_large("too large", "Request fewer."), "RequestTooLarge", true),
        ] {
            let error = InvocationError::from(failure);
            assert_eq!(ErrorType::parse(name), Some(error.error_type()));
            assert_eq!(error.error_type().is_permanent(), is_permanent, "{name}");
        }
        for kind in ErrorType::ALL {
            assert_eq!(ErrorType::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(ErrorType::parse("States.Timeout"), None);
    }
}
