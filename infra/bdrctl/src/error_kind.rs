//! The kinds of errors, each with an exit status, so that a script can react without reading messages.

use std::error::Error;
use std::process::ExitCode;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_lambda::types::error::ResourceNotFoundException;
use aws_sdk_sqs::types::error::QueueDoesNotExist;
use aws_smithy_types::error::ErrorMetadata;
use serde::Serialize;
use tokio_postgres::error::SqlState;

use crate::advised::Advised;

/// The kind of an error. The number is the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErrorKind {
    /// Any other error.
    Failed = 1,
    /// The command line is not valid.
    Usage = 2,
    /// The request, the stack, or a function, queue or log group does not exist.
    NotFound = 3,
    /// AWS or the database denies access, or there are no credentials.
    Access = 4,
}

/// Codes of AWS for missing permissions and for credentials that are invalid or have expired. Most are
/// common to all services ("Common errors" in each API reference).
const ACCESS_CODES: [&str; 14] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "SignatureDoesNotMatch",
    "UnauthorizedOperation",
    "UnrecognizedClientException",
];

impl ErrorKind {
    /// Returns the kind of an error: that of the outermost cause that determines one.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        error.chain().find_map(kind_of_cause).unwrap_or(Self::Failed)
    }
}

impl From<ErrorKind> for ExitCode {
    fn from(kind: ErrorKind) -> Self {
        Self::from(kind as u8)
    }
}

fn kind_of_cause(cause: &(dyn Error + 'static)) -> Option<ErrorKind> {
    let is_absent = cause.is::<ResourceNotFoundException>()
        || cause.is::<aws_sdk_cloudwatchlogs::types::error::ResourceNotFoundException>()
        || cause.is::<QueueDoesNotExist>()
        || cause.downcast_ref::<Advised>().is_some_and(Advised::is_not_found);
    let is_denied = cause.is::<CredentialsError>()
        || cause.downcast_ref::<ErrorMetadata>().is_some_and(|metadata| {
            metadata.code().is_some_and(|code| ACCESS_CODES.contains(&code))
        })
        || cause.downcast_ref::<tokio_postgres::Error>().is_some_and(|error| {
            let denials = [
                SqlState::INSUFFICIENT_PRIVILEGE,
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                SqlState::INVALID_PASSWORD,
            ];
            error.code().is_some_and(|code| denials.contains(code))
        });
    match (is_absent, is_denied) {
        (true, _) => Some(ErrorKind::NotFound),
        (_, true) => Some(ErrorKind::Access),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};
    use aws_smithy_types::error::ErrorMetadata;

    use super::ErrorKind;
    use crate::advised::Advised;

    #[test]
    fn the_kind_is_found_below_the_context() {
        let absent = Err::<(), _>(Advised::not_found("request not found", "Check the id."));
        let absent = absent.context(Advised::new("failed to publish", "Retry.")).unwrap_err();
        assert_eq!(ErrorKind::of(&absent), ErrorKind::NotFound);
        let of_code = |code: &str| {
            let error = anyhow!(ErrorMetadata::builder().code(code).build());
            ErrorKind::of(&error.context("failed to invoke"))
        };
        assert_eq!(of_code("AccessDeniedException"), ErrorKind::Access);
        assert_eq!(of_code("ThrottlingException"), ErrorKind::Failed);
        assert_eq!(ErrorKind::of(&anyhow!("failed")), ErrorKind::Failed);
    }
}
