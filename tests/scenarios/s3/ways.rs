//! The two clients, with the same methods and results.

use std::ops::Range;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};
use axum::body::Bytes;
use zip_to_s3::s3::{self, with_retries};

/// Attempts at each request.
pub(super) const ATTEMPTS: u32 = 2;

/// A client.
pub(super) enum Way {
    /// The SDK's.
    Sdk(aws_sdk_s3::Client),
    /// The lean one.
    Lean(s3::Client),
}

/// An object that arrived whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) e_tag: Option<String>,
    pub(super) bytes: Vec<u8>,
}

/// A part, and whether S3 stated its checksum.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) e_tag: Option<String>,
    pub(super) has_crc32: bool,
}

/// Why a request failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// S3's response: its status and error code.
    Refused(Option<u16>, Option<String>),
    /// The head of the response arrived, its body did not.
    Body,
}

impl Way {
    /// Returns both clients.
    pub(super) fn both(sdk: &aws_sdk_s3::Client) -> [Self; 2] {
        let retry = RetryConfig::standard()
            .with_max_attempts(ATTEMPTS)
            .with_max_backoff(std::time::Duration::from_millis(10));
        let config = sdk.config().to_builder().retry_config(retry).build();
        [Self::Sdk(aws_sdk_s3::Client::from_conf(config)), Self::Lean(s3::Client::new(sdk.clone()))]
    }

    /// Gets an object, or a range of it.
    pub(super) async fn get(
        &self,
        bucket: &str,
        key: &str,
        range: Option<Range<u64>>,
        if_match: Option<&str>,
    ) -> Result<Got, Trouble> {
        match self {
            Self::Sdk(client) => {
                let text = range.map(|range| format!("bytes={}-{}", range.start, range.end - 1));
                let get = client.get_object().bucket(bucket).key(key).set_range(text);
                let get = get.checksum_mode(ChecksumMode::Enabled);
                let object = get.set_if_match(if_match.map(str::to_owned)).send().await?;
                let bytes = object.body.collect().await.map_err(|_| Trouble::Body)?.to_vec();
                Ok(Got { e_tag: object.e_tag, bytes })
            }
            Self::Lean(client) => {
                let get = || client.get(bucket, key, range.clone(), if_match);
                let mut object = with_retries(ATTEMPTS, get).await?.verified();
                let mut bytes = Vec::new();
                while let Some(next) = object.body.next().await {
                    bytes.extend_from_slice(&next.map_err(|_| Trouble::Body)?);
                }
                let expected = range.map_or(0..object.size, |r| r.start..r.end.min(object.size));
                assert_eq!(object.range, expected);
                assert_eq!(bytes.len() as u64, expected.end - expected.start);
                Ok(Got { e_tag: object.e_tag, bytes })
            }
        }
    }

    /// Requests an object, without a retry.
    pub(super) async fn get_once(&self, bucket: &str, key: &str) -> Result<(), Trouble> {
        match self {
            Self::Sdk(client) => {
                let retry = RetryConfig::standard().with_max_attempts(1);
                let once = aws_sdk_s3::config::Builder::new().retry_config(retry);
                let get = client.get_object().bucket(bucket).key(key).customize();
                get.config_override(once).send().await?;
            }
            Self::Lean(client) => {
                client.get(bucket, key, None, None).await?;
            }
        }
        Ok(())
    }

    /// Returns size, ETag and storage class of an object.
    pub(super) async fn head(
        &self,
        bucket: &str,
        key: &str,
    ) -> Result<(u64, Option<String>, Option<String>), Trouble> {
        match self {
            Self::Sdk(client) => {
                let head = client.head_object().bucket(bucket).key(key).send().await?;
                let size = head.content_length.unwrap().try_into().unwrap();
                let class = head.storage_class.map(|class| class.as_str().to_owned());
                Ok((size, head.e_tag, class))
            }
            Self::Lean(client) => {
                let head = with_retries(ATTEMPTS, || client.head(bucket, key)).await?;
                Ok((head.size, head.e_tag, head.storage_class))
            }
        }
    }

    /// Uploads a part in two segments.
    pub(super) async fn upload_part(
        &self,
        bucket: &str,
        key: &str,
        upload_id: &str,
        number: u16,
        bytes: Bytes,
    ) -> Result<Stored, Trouble> {
        match self {
            Self::Sdk(client) => {
                let part = client.upload_part().bucket(bucket).key(key).upload_id(upload_id);
                let part = part.part_number(number.into()).body(ByteStream::from(bytes));
                let part = part.checksum_algorithm(ChecksumAlgorithm::Crc32);
                let part = part.customize().disable_payload_signing().send().await?;
                Ok(Stored { e_tag: part.e_tag, has_crc32: part.checksum_crc32.is_some() })
            }
            Self::Lean(client) => {
                let (crc32, half) = (crc32(&bytes), bytes.len() / 2);
                let segments = || [bytes.slice(..half), bytes.slice(half..)];
                let put = || client.upload_part(bucket, key, upload_id, number, segments(), crc32);
                let part = with_retries(ATTEMPTS, put).await?;
                assert_eq!(part.number, number);
                Ok(Stored { e_tag: Some(part.e_tag), has_crc32: part.crc32.is_some() })
            }
        }
    }

    /// Copies an object, or a range of it, into a part.
    pub(super) async fn copy_part(
        &self,
        bucket: &str,
        (source, if_match): (&str, &str),
        range: Option<Range<u64>>,
        key: &str,
        upload_id: &str,
        number: u16,
    ) -> Result<Stored, Trouble> {
        match self {
            Self::Sdk(client) => {
                let text = range.map(|range| format!("bytes={}-{}", range.start, range.end - 1));
                let encoded = percent_encoding::utf8_percent_encode(source, SOURCE);
                let copy = client.upload_part_copy().bucket(bucket).key(key).upload_id(upload_id);
                let copy =
                    copy.copy_source(format!("{bucket}/{encoded}")).set_copy_source_range(text);
                let copy = copy.copy_source_if_match(if_match).part_number(number.into());
                let part = copy.send().await?.copy_part_result.unwrap();
                Ok(Stored { e_tag: part.e_tag, has_crc32: part.checksum_crc32.is_some() })
            }
            Self::Lean(client) => {
                let copy = || {
                    let range = range.clone();
                    client.copy_part(bucket, source, if_match, range, key, upload_id, number)
                };
                let part = with_retries(ATTEMPTS, copy).await?;
                Ok(Stored { e_tag: Some(part.e_tag), has_crc32: part.crc32.is_some() })
            }
        }
    }
}

/// Characters to encode in `x-amz-copy-source`.
const SOURCE: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Returns the CRC32 of some bytes.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

impl<E: ProvideErrorMetadata> From<SdkError<E>> for Trouble {
    fn from(error: SdkError<E>) -> Self {
        let status = error.raw_response().map(|response| response.status().as_u16());
        Self::Refused(status, error.code().map(str::to_owned))
    }
}

impl From<s3::Error> for Trouble {
    fn from(error: s3::Error) -> Self {
        Self::Refused(error.status(), error.code().map(str::to_owned))
    }
}
