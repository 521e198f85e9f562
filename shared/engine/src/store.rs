//! What the engine needs of S3. [`Bucket`] is S3; a test may use a store in memory.

use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload};
use aws_smithy_types::error::display::DisplayErrorContext;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use crate::s3;

/// A bucket with the operations of the engine. A request is sent once: the engine retries it.
pub trait Store: Clone + Send + Sync + 'static {
    /// Requests an object, or some of its bytes, if it still has the ETag `if_match`.
    fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        if_match: Option<&str>,
    ) -> impl Future<Output = Result<Opened, StoreError>> + Send;

    /// Returns the metadata of an object.
    fn head(&self, key: &str) -> impl Future<Output = Result<Found, StoreError>> + Send;

    /// Creates an object that does not exist yet, or replaces one if `replace`. Returns its ETag.
    fn put(
        &self,
        key: &str,
        body: Bytes,
        replace: bool,
    ) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;

    /// Creates a multipart upload and returns its id.
    fn create(&self, key: &str) -> impl Future<Output = Result<String, StoreError>> + Send;

    /// Uploads a part, the concatenation of `body`. The store rejects it unless `crc32` is its CRC32.
    fn upload_part(
        &self,
        upload: UploadId<'_>,
        number: u16,
        body: Vec<Bytes>,
        crc32: u32,
    ) -> impl Future<Output = Result<s3::Part, StoreError>> + Send;

    /// Makes a part of the bytes of an object that still has the ETag `if_match`.
    fn copy_part(
        &self,
        upload: UploadId<'_>,
        number: u16,
        source: &str,
        if_match: &str,
        range: Option<Range<u64>>,
    ) -> impl Future<Output = Result<s3::Part, StoreError>> + Send;

    /// Completes an upload, unless there is an object at the key and not `replace`. Returns the
    /// ETag.
    fn complete(
        &self,
        upload: UploadId<'_>,
        parts: &[s3::Part],
        replace: bool,
    ) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;

    /// Aborts an upload.
    fn abort(&self, upload: UploadId<'_>) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A multipart upload.
#[derive(Debug, Clone, Copy)]
pub struct UploadId<'a> {
    /// The key of its object.
    pub key: &'a str,
    /// The id.
    pub id: &'a str,
}

/// An object, or a range of one, whose body is not read yet.
pub struct Opened {
    /// The size of the whole object in bytes.
    pub size: u64,
    /// The ETag.
    pub e_tag: Option<String>,
    /// The CRC32 of the whole object, if the store knows it and the whole object was requested.
    pub crc32: Option<u32>,
    /// The bytes: an error when there are fewer or more than announced.
    pub body: BoxStream<'static, Result<Bytes, StoreError>>,
}

/// The metadata of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The size in bytes.
    pub size: u64,
    /// The ETag.
    pub e_tag: Option<String>,
    /// The CRC32 of the whole object, if the store knows it.
    pub crc32: Option<u32>,
    /// Whether a copy of the object is likely to succeed: it is neither archived nor encrypted under
    /// a key of its own.
    pub can_copy: bool,
}

/// What an error of a store means for the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The same request may succeed later.
    Transient,
    /// The store asks for fewer requests.
    Throttled,
    /// There is no such object.
    Missing,
    /// The object is not the one that was expected: another version, or one where there must be none.
    Conflict,
    /// The store refuses the request.
    Refused,
}

/// An error of a store.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct StoreError {
    /// What it means.
    pub kind: StoreErrorKind,
    /// The cause.
    pub text: String,
    /// The delay that the store asks for.
    pub retry_after: Option<Duration>,
}

impl StoreError {
    /// Returns an error.
    #[must_use]
    pub fn new(kind: StoreErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), retry_after: None }
    }

    fn classify(code: Option<&str>, status: Option<u16>) -> StoreErrorKind {
        match (code, status) {
            (Some("PreconditionFailed" | "ConditionalRequestConflict" | "NoSuchUpload"), _)
            | (_, Some(409 | 412)) => StoreErrorKind::Conflict,
            (Some("NoSuchKey" | "NotFound"), _) | (None, Some(404)) => StoreErrorKind::Missing,
            _ => StoreErrorKind::Refused,
        }
    }
}

impl From<s3::Error> for StoreError {
    fn from(error: s3::Error) -> Self {
        let kind = if error.is_throttling() {
            StoreErrorKind::Throttled
        } else if error.is_transient() {
            StoreErrorKind::Transient
        } else {
            Self::classify(error.code(), error.status())
        };
        Self { kind, text: error.to_string(), retry_after: error.retry_after() }
    }
}

/// The SDK has retried what is transient, so the engine does not.
impl<E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static> From<SdkError<E>>
    for StoreError
{
    fn from(error: SdkError<E>) -> Self {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let kind = Self::classify(error.code(), status);
        Self::new(kind, DisplayErrorContext(&error).to_string())
    }
}

/// A bucket of S3. The SDK creates and completes uploads; [`s3::Client`] sends what is sent once per
/// object or part.
#[derive(Clone)]
pub struct Bucket {
    sdk: aws_sdk_s3::Client,
    lean: s3::Client,
    name: String,
}

impl Bucket {
    /// Returns the bucket of this name, to which requests are sent where and as `sdk` would.
    #[must_use]
    pub fn new(sdk: aws_sdk_s3::Client, name: impl Into<String>) -> Self {
        Self { lean: s3::Client::new(sdk.clone()), sdk, name: name.into() }
    }
}

impl Store for Bucket {
    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        if_match: Option<&str>,
    ) -> Result<Opened, StoreError> {
        let object = self.lean.get(&self.name, key, range, if_match).await?;
        let body = object.body.map(|bytes| bytes.map_err(StoreError::from)).boxed();
        Ok(Opened { size: object.size, e_tag: object.e_tag, crc32: object.crc32, body })
    }

    async fn head(&self, key: &str) -> Result<Found, StoreError> {
        let head = self.lean.head(&self.name, key).await?;
        let is_online = !matches!(head.storage_class.as_deref(), Some("GLACIER" | "DEEP_ARCHIVE"));
        let is_plain = matches!(head.encryption.as_deref(), None | Some("AES256"));
        let can_copy = is_online && is_plain;
        Ok(Found { size: head.size, e_tag: head.e_tag, crc32: head.crc32, can_copy })
    }

    async fn put(
        &self,
        key: &str,
        body: Bytes,
        replace: bool,
    ) -> Result<Option<String>, StoreError> {
        let put = self
            .sdk
            .put_object()
            .bucket(&self.name)
            .key(key)
            .content_type("application/zip")
            .set_if_none_match((!replace).then(|| "*".to_owned()))
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(ByteStream::from(body))
            .customize()
            .disable_payload_signing() // CRC32 and TLS protect the body at half the CPU time
            .send();
        Ok(Box::pin(put).await?.e_tag)
    }

    async fn create(&self, key: &str) -> Result<String, StoreError> {
        let created = self
            .sdk
            .create_multipart_upload()
            .bucket(&self.name)
            .key(key)
            .content_type("application/zip")
            // The same algorithm as for the parts; otherwise S3 rejects them.
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .checksum_type(ChecksumType::Composite)
            .send();
        Box::pin(created).await?.upload_id.ok_or_else(|| {
            let text = "the response to CreateMultipartUpload has no upload id";
            StoreError::new(StoreErrorKind::Refused, text)
        })
    }

    async fn upload_part(
        &self,
        upload: UploadId<'_>,
        number: u16,
        body: Vec<Bytes>,
        crc32: u32,
    ) -> Result<s3::Part, StoreError> {
        let UploadId { key, id } = upload;
        Ok(self.lean.upload_part(&self.name, key, id, number, body, crc32).await?)
    }

    async fn copy_part(
        &self,
        upload: UploadId<'_>,
        number: u16,
        source: &str,
        if_match: &str,
        range: Option<Range<u64>>,
    ) -> Result<s3::Part, StoreError> {
        let UploadId { key, id } = upload;
        let copy = self.lean.copy_part(&self.name, source, if_match, range, key, id, number);
        Ok(copy.await?)
    }

    async fn complete(
        &self,
        upload: UploadId<'_>,
        parts: &[s3::Part],
        replace: bool,
    ) -> Result<Option<String>, StoreError> {
        let parts = parts.iter().map(s3::Part::completed).collect();
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let completed = self
            .sdk
            .complete_multipart_upload()
            .bucket(&self.name)
            .key(upload.key)
            .upload_id(upload.id)
            .set_if_none_match((!replace).then(|| "*".to_owned()))
            .multipart_upload(parts)
            .send();
        Ok(Box::pin(completed).await?.e_tag)
    }

    async fn abort(&self, upload: UploadId<'_>) -> Result<(), StoreError> {
        let UploadId { key, id } = upload;
        let abort =
            self.sdk.abort_multipart_upload().bucket(&self.name).key(key).upload_id(id).send();
        Ok(Box::pin(abort).await.map(drop)?)
    }
}
