//! The errors of S3, classified by what to do about them: by the error's code before its status.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_smithy_types::error::display::DisplayErrorContext;
use zip_to_s3::s3;

use crate::failure::Decision;

/// The error of a call to the vault.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The object does not exist.
    #[error("no such object in the vault")]
    NotFound,
    /// The object is in an archive storage class and must be restored before it can be read.
    #[error("the object is archived (S3 Glacier); restore it first")]
    Archived,
    /// S3 denied access to this object or operation (403). With `s3:ListBucket` a missing object is
    /// a 404, so a policy is wrong.
    #[error("access to the vault was denied: {0}")]
    Denied(String),
    /// The function cannot use the vault at all: bucket, region, credentials or clock are wrong.
    #[error("the vault is misconfigured: {0}")]
    Misconfigured(String),
    /// S3 rejected the request for this object for good (another 4xx).
    #[error("S3 rejected the request: {0}")]
    Rejected(String),
    /// A conditional write lost against another one, or the upload no longer exists.
    #[error("the object exists already, or its upload is gone: {0}")]
    Conflict(String),
    /// The body broke off, stalled, or had another length than announced.
    #[error("the object could not be read whole: {0}")]
    Body(String),
    /// S3 throttles, or did not respond in time: fewer requests at once help.
    #[error("the vault is overloaded: {0}")]
    Congested(String),
    /// A fault of S3, no connection, or any other trouble that may pass.
    #[error("the vault call failed: {0}")]
    Service(String),
}

impl VaultError {
    /// Returns retry or fail. A missing permission is retried too: an operator may be about to grant
    /// it.
    #[must_use]
    pub fn decision(&self) -> Decision {
        match self {
            Self::NotFound | Self::Archived => Decision::Fail,
            Self::Denied(_)
            | Self::Rejected(_)
            | Self::Misconfigured(_)
            | Self::Conflict(_)
            | Self::Body(_)
            | Self::Congested(_)
            | Self::Service(_) => Decision::Retry,
        }
    }
}

impl<E> From<SdkError<E>> for VaultError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    fn from(error: SdkError<E>) -> Self {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let text = describe(&error, status);
        let is_timeout = match &error {
            SdkError::TimeoutError(_) => true,
            SdkError::DispatchFailure(failure) => failure.is_timeout(),
            _ => false,
        };
        if is_timeout {
            return Self::Congested(text);
        }
        classify(error.code(), status, text)
    }
}

impl From<s3::Error> for VaultError {
    fn from(error: s3::Error) -> Self {
        let text = error.to_string();
        match error.kind() {
            s3::ErrorKind::Timeout => Self::Congested(text),
            s3::ErrorKind::Body | s3::ErrorKind::Checksum => Self::Body(text),
            _ => classify(error.code(), error.status(), text),
        }
    }
}

/// Classifies a response by its error code ("Amazon S3 API Reference", "Error responses"), and by
/// its status where the code is absent or says no more than the status.
fn classify(code: Option<&str>, status: Option<u16>, text: String) -> VaultError {
    if let Some(cause) = code.and_then(misconfiguration) {
        return VaultError::Misconfigured(format!("{cause}; {text}"));
    }
    match (code, status) {
        (Some("NoSuchKey"), _) | (None | Some("NotFound"), Some(404)) => VaultError::NotFound,
        (Some("InvalidObjectState"), _) => VaultError::Archived,
        (
            Some(
                "SlowDown"
                | "ServiceUnavailable"
                | "Throttling"
                | "ThrottlingException"
                | "RequestLimitExceeded"
                | "TooManyRequests"
                | "RequestTimeout"
                | "BandwidthLimitExceeded",
            ),
            _,
        )
        | (_, Some(429 | 503)) => VaultError::Congested(text),
        // A completion may return an error under status 200.
        (Some("NoSuchUpload" | "PreconditionFailed" | "ConditionalRequestConflict"), _)
        | (_, Some(409 | 412)) => VaultError::Conflict(text),
        (_, Some(403)) => VaultError::Denied(text),
        (_, Some(400..=499)) => VaultError::Rejected(text),
        _ => VaultError::Service(text),
    }
}

/// Returns the cause, in words, of an error code that concerns every call of the function.
fn misconfiguration(code: &str) -> Option<&'static str> {
    Some(match code {
        "NoSuchBucket" => "the bucket does not exist; check VAULT_BUCKET",
        "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => "the bucket is in another region",
        "InvalidAccessKeyId" => "AWS does not know the access key",
        "SignatureDoesNotMatch" => "the secret key does not match the access key",
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
            "the session token is expired or invalid"
        }
        "RequestTimeTooSkewed" | "RequestExpired" => "the function's clock is wrong",
        "AccountProblem" | "AllAccessDisabled" | "InvalidPayer" | "NotSignedUp" => {
            "AWS has disabled access for the account"
        }
        _ => return None,
    })
}

fn describe<E>(error: &SdkError<E>, status: Option<u16>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Some(status) = status else {
        return DisplayErrorContext(error).to_string();
    };
    let request = error.raw_response().and_then(RequestId::request_id).unwrap_or("none");
    format!("status {status}, code {}, request {request}", error.code().unwrap_or("none"))
}

#[cfg(test)]
mod tests {
    use super::{VaultError, classify};

    fn kind(code: Option<&str>, status: u16) -> &'static str {
        match classify(code, Some(status), String::new()) {
            VaultError::NotFound => "not found",
            VaultError::Archived => "archived",
            VaultError::Denied(_) => "denied",
            VaultError::Rejected(_) => "rejected",
            VaultError::Misconfigured(_) => "misconfigured",
            VaultError::Conflict(_) => "conflict",
            VaultError::Body(_) => "body",
            VaultError::Congested(_) => "congested",
            VaultError::Service(_) => "service",
        }
    }

    #[test]
    fn the_code_decides_before_the_status() {
        for (code, status, expected) in [
            (Some("NoSuchKey"), 404, "not found"),
            (None, 404, "not found"),
            (Some("NoSuchBucket"), 404, "misconfigured"),
            (Some("NoSuchUpload"), 404, "conflict"),
            (Some("InvalidObjectState"), 403, "archived"),
            (Some("AccessDenied"), 403, "denied"),
            (None, 403, "denied"),
            (Some("RequestTimeTooSkewed"), 403, "misconfigured"),
            (Some("InvalidAccessKeyId"), 403, "misconfigured"),
            (Some("ExpiredToken"), 400, "misconfigured"),
            (Some("PermanentRedirect"), 301, "misconfigured"),
            (Some("KMS.DisabledException"), 400, "rejected"),
            (None, 405, "rejected"),
            (Some("SlowDown"), 503, "congested"),
            (Some("SlowDown"), 200, "congested"),
            (Some("RequestTimeout"), 400, "congested"),
            (None, 503, "congested"),
            (Some("InternalError"), 500, "service"),
            (Some("InternalError"), 200, "service"),
            (Some("PreconditionFailed"), 412, "conflict"),
            (None, 409, "conflict"),
        ] {
            assert_eq!(kind(code, status), expected, "{code:?} {status}");
        }
    }

    #[test]
    fn a_misconfiguration_names_its_cause() {
        let error = classify(Some("RequestTimeTooSkewed"), Some(403), "status 403".to_owned());
        assert_eq!(
            error.to_string(),
            "the vault is misconfigured: the function's clock is wrong; status 403"
        );
    }
}
