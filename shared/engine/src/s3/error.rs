//! The errors of S3, read and classified as the SDK does it.

use std::fmt;
use std::time::Duration;

use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::Headers;
use aws_smithy_types::error::display::DisplayErrorContext;

use super::body::read_bounded;
use super::xml;

/// Statuses that the SDK retries.
const TRANSIENT_STATUSES: [u16; 4] = [500, 502, 503, 504];
/// The code that the SDK retries for S3 beside those of all services.
const S3_TRANSIENT: &str = "InternalError";

/// The error of a request to S3.
///
/// Boxed, because it is rare and the results that may hold it are moved often.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    code: Option<String>,
    status: Option<u16>,
    request_id: Option<String>,
    retry_after: Option<Duration>,
    /// Whether the SDK would send the request again.
    is_transient: bool,
    /// The cause, for an error without a response.
    detail: String,
}

/// The cause of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request was not sent: there is no endpoint, no credentials, or a value is invalid.
    Setup,
    /// No connection or no head of a response within the time limit.
    Timeout,
    /// The connection did not open, or it broke.
    Connection,
    /// S3 returned an error.
    Response,
    /// S3 returned something that is not its response to this request.
    Unexpected,
    /// The body of the response broke off, stalled, or had another length than announced.
    Body,
    /// The body of the response has another checksum than the object.
    Checksum,
}

impl Error {
    fn new(kind: ErrorKind, is_transient: bool, detail: String) -> Self {
        Self(Box::new(Inner {
            kind,
            code: None,
            status: None,
            request_id: None,
            retry_after: None,
            is_transient,
            detail,
        }))
    }

    pub(super) fn setup(detail: String) -> Self {
        Self::new(ErrorKind::Setup, false, detail)
    }

    pub(super) fn unexpected(detail: &str) -> Self {
        Self::new(ErrorKind::Unexpected, true, detail.to_owned())
    }

    pub(super) fn body(detail: String) -> Self {
        Self::new(ErrorKind::Body, true, detail)
    }

    pub(super) fn checksum() -> Self {
        let detail = "the body has another CRC32 than the object".to_owned();
        Self::new(ErrorKind::Checksum, true, detail)
    }

    /// Classifies the error of an HTTP client.
    pub(super) fn of_connector(error: &ConnectorError) -> Self {
        let detail = DisplayErrorContext(error).to_string();
        if error.is_timeout() {
            Self::new(ErrorKind::Timeout, true, detail)
        } else if error.is_user() {
            Self::setup(detail)
        } else {
            let is_transient = error.is_io() || error.as_other().is_some();
            Self::new(ErrorKind::Connection, is_transient, detail)
        }
    }

    /// Reads the error that a response contains.
    pub(super) async fn of_response(mut response: HttpResponse) -> Self {
        // Without its body an error still has a status.
        let body = read_bounded(response.take_body()).await.unwrap_or_default();
        Self::of_body(response.status().as_u16(), response.headers(), &body)
    }

    /// Reads the error in the body of a response.
    pub(super) fn of_body(status: u16, headers: &Headers, body: &[u8]) -> Self {
        // The response to a HEAD has no body.
        let code = if body.is_empty() {
            (status == 404).then(|| "NotFound".to_owned())
        } else {
            xml::error_code(body)
        };
        let is_transient = TRANSIENT_STATUSES.contains(&status)
            || code.as_deref().is_some_and(|code| {
                THROTTLING_ERRORS.contains(&code)
                    || TRANSIENT_ERRORS.contains(&code)
                    || code == S3_TRANSIENT
            });
        Self(Box::new(Inner {
            kind: ErrorKind::Response,
            code,
            status: Some(status),
            request_id: headers.get("x-amz-request-id").map(str::to_owned),
            retry_after: retry_after(headers),
            is_transient,
            detail: String::new(),
        }))
    }

    /// Returns the cause.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns S3's error code, such as `NoSuchKey`. A response without a body has none, except a
    /// 404, whose code is `NotFound`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// Returns the status of the response, if there was one. An error may arrive under status 200.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// Returns the id of the request, if there was a response.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// Returns whether the same request may succeed when it is sent again. The SDK would retry it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.0.is_transient
    }

    /// Returns whether S3 asks for fewer requests.
    #[must_use]
    pub fn is_throttling(&self) -> bool {
        self.code().is_some_and(|code| THROTTLING_ERRORS.contains(&code))
    }

    /// Returns the delay that S3 asks for before the next request.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

/// Returns the delay in `x-amz-retry-after`, in milliseconds, or in `retry-after`, in seconds.
fn retry_after(headers: &Headers) -> Option<Duration> {
    let number = |name| headers.get(name).and_then(|value| value.trim().parse().ok());
    let milliseconds = number("x-amz-retry-after").map(Duration::from_millis);
    milliseconds.or_else(|| number("retry-after").map(Duration::from_secs))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.status {
            None => f.write_str(&self.0.detail),
            Some(status) => {
                let code = self.code().unwrap_or("none");
                let request = self.request_id().unwrap_or("none");
                write!(f, "status {status}, code {code}, request {request}")
            }
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)
    }
}

impl std::error::Error for Error {}
