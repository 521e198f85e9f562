//! Errors of the vault, classified by how to handle them.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_smithy_types::error::display::DisplayErrorContext;

use crate::failure::Decision;

/// An error of the vault.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The object does not exist.
    #[error("object not found in the vault")]
    NotFound,
    /// S3 denied access (403): a policy is missing. With `s3:ListBucket` a missing object is a 404.
    #[error("access to the vault was denied: {0}")]
    Denied(String),
    /// A conditional write failed because the object exists or changed, or the multipart upload no
    /// longer exists.
    #[error("the object exists or changed, or its multipart upload is gone: {0}")]
    Conflict(String),
    /// The body ended early, stalled, or had another length than `Content-Length`.
    #[error("failed to read the object: {0}")]
    Body(String),
    /// Throttling, a server error, no connection, or another cause that may be transient.
    #[error("the S3 request failed: {0}")]
    Service(String),
}

impl VaultError {
    /// Returns the decision. A missing permission is retried too, because an operator may grant it.
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
            // CompleteMultipartUpload may return an error with status 200.
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
