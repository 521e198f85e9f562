//! What S3 may answer, sorted by what is to be done about it.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_smithy_types::error::display::DisplayErrorContext;

use crate::failure::Decision;

/// Why the vault did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is no such object.
    #[error("no such object in the vault")]
    NotFound,
    /// S3 refused (403): a policy is missing. With `s3:ListBucket` a missing object is a 404.
    #[error("access to the vault was denied: {0}")]
    Denied(String),
    /// A conditional write lost against another one, or the upload is no longer there.
    #[error("the object exists already, or its upload is gone: {0}")]
    Conflict(String),
    /// The body broke off, stalled, or had another length than announced.
    #[error("the object could not be read whole: {0}")]
    Body(String),
    /// Throttling, a fault of S3, no connection, or anything else that may pass.
    #[error("the vault did not answer as it should: {0}")]
    Service(String),
}

impl VaultError {
    /// Retry or fail. A missing permission is retried too: somebody may be about to mend it.
    #[must_use]
    pub fn decision(&self) -> Decision {
        match self {
            Self::NotFound => Decision::Fail,
            Self::Denied(_) | Self::Conflict(_) | Self::Body(_) | Self::Service(_) => {
                Decision::Retry
            }
        }
    }
}

impl<E> From<SdkError<E>> for VaultError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    fn from(error: SdkError<E>) -> Self {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let code = error.code().map(str::to_owned);
        let text = describe(&error, status, code.as_deref());
        match (status, code.as_deref()) {
            (_, Some("NoSuchKey")) | (Some(404), None | Some("NotFound")) => Self::NotFound,
            (Some(403), _) => Self::Denied(text),
            // Completing an upload may answer with an error under status 200.
            (Some(409 | 412), _)
            | (_, Some("NoSuchUpload" | "PreconditionFailed" | "ConditionalRequestConflict")) => {
                Self::Conflict(text)
            }
            _ => Self::Service(text),
        }
    }
}

fn describe<E>(error: &SdkError<E>, status: Option<u16>, code: Option<&str>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Some(status) = status else {
        return DisplayErrorContext(error).to_string();
    };
    let request = error.raw_response().and_then(RequestId::request_id).unwrap_or("none");
    format!("status {status}, code {}, request {request}", code.unwrap_or("none"))
}
