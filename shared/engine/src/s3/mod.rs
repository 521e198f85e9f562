//! A lean client for the requests that are sent once per object or part: GET, HEAD, `UploadPart` and
//! `UploadPartCopy`.
//!
//! The SDK builds configuration bags, runs interceptors and resolves the endpoint for every request.
//! For objects of a few kilobytes that is most of the CPU time. Here a request is a path, a signature
//! and one response, over the HTTP client of the SDK's configuration. The SDK itself answers, once
//! per bucket, where requests go and how they are signed, and its cache provides the credentials. So
//! [`Client::new`] takes the SDK's client, which remains the one for everything else.
//!
//! A request is sent once. [`with_retries`] repeats it as the SDK would. All requests for a bucket share
//! a rate that S3 accepts, and that is lowered when S3 throttles.
//!
//! Not supported: S3 Express One Zone and multi-region access points, which sign in another way.

mod body;
mod error;
mod filling;
mod governor;
mod retry;
mod route;
mod sign;
mod xml;

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::types::CompletedPart;
use aws_smithy_runtime_api::client::connection::CaptureSmithyConnection;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::Headers;
use aws_smithy_types::base64;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::Mutex;

use body::{Segments, read_bounded};
use filling::Framed;
use governor::Kind;
use route::Route;
use sign::{Header, Scope, Signable, Signer, date_time};

pub use body::{Body, body_of};
pub use error::{Error, ErrorKind};
pub use filling::PartBytes;
pub(crate) use retry::delay;
pub use retry::with_retries;

/// Characters that are encoded in a query ("Authenticating Requests", `UriEncode`).
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Characters that are encoded in a key.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// The hash of an empty body.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// Stands for the hash of a body that a checksum and TLS protect, at half the CPU time.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// The same for a body whose checksum follows it.
const UNSIGNED_WITH_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

const CHECKSUM: &str = "x-amz-checksum-crc32";

/// A lean client for S3. Cloning is cheap and shares connections, credentials and routes.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    sdk: aws_sdk_s3::Client,
    /// The routes so far. There are few buckets.
    routes: RwLock<Vec<Arc<Route>>>,
    /// Held while a route is resolved.
    resolving: Mutex<()>,
    signer: Signer,
}

/// An object, or a range of one, whose body is not read yet.
pub struct Object {
    /// The size of the whole object in bytes.
    pub size: u64,
    /// The bytes of the object that the body has.
    pub range: Range<u64>,
    /// The ETag, which differs from that of a later object at the same key.
    pub e_tag: Option<String>,
    /// The CRC32 of the whole object, if S3 knows it and the whole object was requested.
    pub crc32: Option<u32>,
    /// The bytes.
    pub body: Body,
}

/// The metadata of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The size in bytes.
    pub size: u64,
    /// The ETag, which differs from that of a later object at the same key.
    pub e_tag: Option<String>,
    /// The CRC32 of the whole object, if S3 knows it.
    pub crc32: Option<u32>,
    /// The storage class. `None`: S3 Standard.
    pub storage_class: Option<String>,
    /// The server-side encryption, such as `AES256` or `aws:kms`.
    pub encryption: Option<String>,
}

/// A part of a multipart upload that S3 has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 1.
    pub number: u16,
    /// Its ETag.
    pub e_tag: String,
    /// Its CRC32. `None`: S3 did not state that of a copy, because the upload has another checksum.
    pub crc32: Option<u32>,
}

impl Part {
    /// Returns the part as `CompleteMultipartUpload` lists it.
    #[must_use]
    pub fn completed(&self) -> CompletedPart {
        CompletedPart::builder()
            .part_number(self.number.into())
            .e_tag(&self.e_tag)
            .set_checksum_crc32(self.crc32.map(encode_crc32))
            .build()
    }
}

/// A request to be signed and sent.
struct Request<'a> {
    method: &'static str,
    key: &'a str,
    /// The encoded query, sorted by name.
    query: String,
    /// The headers beside those of every request.
    headers: Vec<Header>,
    payload: &'static str,
    body: SdkBody,
}

impl<'a> Request<'a> {
    fn new(method: &'static str, key: &'a str) -> Self {
        let (query, headers) = (String::new(), Vec::with_capacity(8));
        Self { method, key, query, headers, payload: EMPTY, body: SdkBody::empty() }
    }

    fn for_part(key: &'a str, upload_id: &str, number: u16) -> Self {
        let upload_id = utf8_percent_encode(upload_id, QUERY);
        Self { query: format!("partNumber={number}&uploadId={upload_id}"), ..Self::new("PUT", key) }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Client {
    /// Creates a client that sends requests where and as `sdk` would.
    #[must_use]
    pub fn new(sdk: aws_sdk_s3::Client) -> Self {
        let (routes, resolving) = (RwLock::default(), Mutex::default());
        Self { inner: Arc::new(Inner { sdk, routes, resolving, signer: Signer::default() }) }
    }

    /// Returns the URL of a bucket, where its requests go.
    ///
    /// # Errors
    /// When the SDK does not send such requests: without credentials, for instance.
    pub async fn url(&self, bucket: &str) -> Result<String, Error> {
        Ok(self.route(bucket).await?.url.clone())
    }

    /// Requests an object, or some of its bytes, if it still has the ETag `if_match`.
    ///
    /// # Errors
    /// When the request fails, or the response is not that of the whole object or of `range`. S3
    /// rejects a range that begins at or after the end of the object.
    pub async fn get(
        &self,
        bucket: &str,
        key: &str,
        range: Option<Range<u64>>,
        if_match: Option<&str>,
    ) -> Result<Object, Error> {
        let mut request = Request::new("GET", key);
        if let Some(e_tag) = if_match {
            request = request.with("if-match", e_tag);
        }
        request = match &range {
            Some(range) => request.with("range", byte_range(range)?),
            // The checksum of a range is not that of the object.
            None => request.with("x-amz-checksum-mode", "ENABLED"),
        };
        let (mut response, connection) = self.send(bucket, request).await?;
        let headers = response.headers();
        let length = content_length(headers)?;
        let (size, sent) = match &range {
            None => (length, 0..length),
            Some(range) => content_range(headers, range, length)
                .ok_or_else(|| Error::unexpected("the response is not the range requested"))?,
        };
        let crc32 = if range.is_none() { whole_crc32(headers) } else { None };
        let e_tag = text(headers, "etag");
        let body = Body::new(response.take_body(), length).over(connection);
        Ok(Object { size, range: sent, e_tag, crc32, body })
    }

    /// Returns the metadata of an object.
    ///
    /// # Errors
    /// When the request fails. The error of a missing object has the code `NotFound`.
    pub async fn head(&self, bucket: &str, key: &str) -> Result<Head, Error> {
        let request = Request::new("HEAD", key).with("x-amz-checksum-mode", "ENABLED");
        let (response, _) = self.send(bucket, request).await?;
        let headers = response.headers();
        Ok(Head {
            size: content_length(headers)?,
            e_tag: text(headers, "etag"),
            crc32: whole_crc32(headers),
            storage_class: text(headers, "x-amz-storage-class"),
            encryption: text(headers, "x-amz-server-side-encryption"),
        })
    }

    /// Uploads a part, the concatenation of `segments`, which are not copied. S3 rejects it unless
    /// `crc32` is its CRC32.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn upload_part(
        &self,
        bucket: &str,
        key: &str,
        upload_id: &str,
        number: u16,
        segments: impl IntoIterator<Item = Bytes>,
        crc32: u32,
    ) -> Result<Part, Error> {
        let body = Segments::new(segments);
        let request = Request::for_part(key, upload_id, number)
            .with("content-length", body.len().to_string())
            .with(CHECKSUM, encode_crc32(crc32));
        let body = SdkBody::from_body_1_x(body);
        let request = Request { payload: UNSIGNED, body, ..request };
        let (response, _) = self.send(bucket, request).await?;
        stored_part(response.headers(), number, crc32)
    }

    /// Uploads a part of `size` bytes while it fills. S3 rejects it unless its bytes have the CRC32 with which
    /// it is completed.
    ///
    /// # Errors
    /// When the request fails, or the part ends with another size.
    pub async fn upload_filling_part(
        &self,
        bucket: &str,
        key: &str,
        upload_id: &str,
        number: u16,
        size: u64,
        part: &PartBytes,
    ) -> Result<Part, Error> {
        let (body, _request) = Framed::new(part.clone(), size);
        let request = Request::for_part(key, upload_id, number)
            .with("content-encoding", "aws-chunked")
            .with("content-length", body.len().to_string())
            .with("x-amz-decoded-content-length", size.to_string())
            .with("x-amz-trailer", CHECKSUM);
        let body = SdkBody::from_body_1_x(body);
        let request = Request { payload: UNSIGNED_WITH_TRAILER, body, ..request };
        let (response, _) = self.send(bucket, request).await?;
        // A server that does not know the framing may store it as a part of the bytes.
        let headers = response.headers();
        let crc32 = part.crc32().filter(|_| headers.get(CHECKSUM).is_some());
        let crc32 = crc32.ok_or_else(|| Error::unexpected("S3 did not state the part's CRC32"))?;
        stored_part(headers, number, crc32)
    }

    /// Makes a part of the bytes of another object of the bucket, if it still has the ETag `if_match`.
    ///
    /// # Errors
    /// When the request fails, which S3 may report after it has sent status 200.
    #[expect(clippy::too_many_arguments, reason = "they are those of the operation")]
    pub async fn copy_part(
        &self,
        bucket: &str,
        source_key: &str,
        if_match: &str,
        range: Option<Range<u64>>,
        key: &str,
        upload_id: &str,
        number: u16,
    ) -> Result<Part, Error> {
        let source = utf8_percent_encode(source_key, PATH);
        let mut request = Request::for_part(key, upload_id, number)
            .with("content-length", "0")
            .with("x-amz-copy-source", format!("{bucket}/{source}"))
            .with("x-amz-copy-source-if-match", if_match);
        if let Some(range) = &range {
            request = request.with("x-amz-copy-source-range", byte_range(range)?);
        }
        let (mut response, _) = self.send(bucket, request).await?;
        let body = read_bounded(response.take_body()).await?;
        if xml::is_error(&body) {
            let error = Error::of_body(response.status().as_u16(), response.headers(), &body);
            self.route(bucket).await?.observe(Kind::Write, &error);
            return Err(error);
        }
        let (e_tag, crc32) = xml::copied_part(&body)
            .ok_or_else(|| Error::unexpected("the response to UploadPartCopy has no ETag"))?;
        Ok(Part { number, e_tag, crc32: crc32.as_deref().and_then(parse_crc32) })
    }

    /// Signs and sends a request. Returns the response to a success, and its connection.
    async fn send(
        &self,
        bucket: &str,
        request: Request<'_>,
    ) -> Result<(HttpResponse, CaptureSmithyConnection), Error> {
        let route = self.route(bucket).await?;
        let kind = if request.method == "PUT" { Kind::Write } else { Kind::Read };
        route.governor.admit(kind).await;
        let identity = route.credentials().await?;
        let credentials = identity
            .data::<Credentials>()
            .ok_or_else(|| Error::setup("the credentials are not a pair of keys".to_owned()))?;
        let mut request = self.signed(&route, credentials, request)?;
        let connection = CaptureSmithyConnection::new();
        request.add_extension(connection.clone());
        let error = match route.connector.call(request).await {
            Ok(response) if response.status().is_success() => return Ok((response, connection)),
            Ok(response) => Error::of_response(response).await,
            Err(error) => Error::of_connector(&error),
        };
        route.observe(kind, &error);
        // As the SDK does: the server behind this connection may be the cause.
        if error.is_transient()
            && !error.is_throttling()
            && let Some(connection) = connection.get()
        {
            connection.poison();
        }
        Err(error)
    }

    fn signed(
        &self,
        route: &Route,
        credentials: &Credentials,
        request: Request<'_>,
    ) -> Result<HttpRequest, Error> {
        let Request { method, key, query, mut headers, payload, body } = request;
        let time = route.now();
        headers.push(("host", route.host.clone()));
        headers.push(("x-amz-content-sha256", payload.to_owned()));
        headers.push(("x-amz-date", date_time(time)));
        if let Some(token) = credentials.session_token() {
            headers.push(("x-amz-security-token", token.to_owned()));
        }
        headers.sort_unstable_by_key(|header| header.0);
        let mut url = String::with_capacity(route.url.len() + key.len() + query.len() + 16);
        url.push_str(&route.url);
        url.push('/');
        url.extend(utf8_percent_encode(key, PATH));
        let path_end = url.len();
        if !query.is_empty() {
            url.push('?');
            url.push_str(&query);
        }
        let path = &url[route.path_at..path_end];
        let signable = Signable { method, path, query: &query, headers: &headers, payload };
        let scope = Scope { region: &route.region, service: &route.service, time };
        let authorization = self.inner.signer.authorization(&signable, credentials, scope);

        let invalid = |error: &dyn std::error::Error| Error::setup(error.to_string());
        let mut signed = HttpRequest::new(body);
        signed.set_method(method).map_err(|error| invalid(&error))?;
        signed.set_uri(url).map_err(|error| invalid(&error))?;
        let headers = headers
            .into_iter()
            .filter(|header| header.0 != "host")
            .chain([("authorization", authorization), ("user-agent", USER_AGENT.to_owned())]);
        for (name, value) in headers {
            signed.headers_mut().try_insert(name, value).map_err(|error| invalid(&error))?;
        }
        Ok(signed)
    }

    /// Returns the route of a bucket, which is resolved once.
    async fn route(&self, bucket: &str) -> Result<Arc<Route>, Error> {
        if let Some(route) = self.known_route(bucket) {
            return Ok(route);
        }
        let _resolving = self.inner.resolving.lock().await;
        if let Some(route) = self.known_route(bucket) {
            return Ok(route);
        }
        let route = Arc::new(Route::resolve(&self.inner.sdk, bucket).await?);
        let mut routes = self.inner.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.push(Arc::clone(&route));
        Ok(route)
    }

    fn known_route(&self, bucket: &str) -> Option<Arc<Route>> {
        let routes = self.inner.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.iter().find(|route| route.bucket == bucket).cloned()
    }
}

impl Object {
    /// Makes the end of the body an error unless the bytes have the object's CRC32, if it has one.
    #[must_use]
    pub fn verified(mut self) -> Self {
        if let Some(crc32) = self.crc32 {
            self.body.expect_crc32(crc32);
        }
        self
    }
}

/// Returns a part with this CRC32 from the response to its upload.
fn stored_part(headers: &Headers, number: u16, crc32: u32) -> Result<Part, Error> {
    let e_tag = text(headers, "etag")
        .ok_or_else(|| Error::unexpected("the response to UploadPart has no ETag"))?;
    let stored = headers.get(CHECKSUM).map_or(Some(crc32), parse_crc32);
    if stored != Some(crc32) {
        return Err(Error::unexpected("S3 stored the part with another CRC32"));
    }
    Ok(Part { number, e_tag, crc32: Some(crc32) })
}

/// Returns a range as a header states it, with both ends included.
fn byte_range(range: &Range<u64>) -> Result<String, Error> {
    if range.is_empty() {
        return Err(Error::setup("an empty range cannot be requested".to_owned()));
    }
    Ok(format!("bytes={}-{}", range.start, range.end - 1))
}

fn text(headers: &Headers, name: &'static str) -> Option<String> {
    headers.get(name).map(str::to_owned)
}

fn content_length(headers: &Headers) -> Result<u64, Error> {
    headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .ok_or_else(|| Error::unexpected("the response has no Content-Length"))
}

/// Returns the size of the object and the range of a response (`bytes 0-9/100`) that starts as
/// requested, has `length` bytes, and ends as requested or with the object.
fn content_range(
    headers: &Headers,
    requested: &Range<u64>,
    length: u64,
) -> Option<(u64, Range<u64>)> {
    let (sent, size) = headers.get("content-range")?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = sent.split_once('-')?;
    let size: u64 = size.parse().ok()?;
    let sent = first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?;
    let expected = requested.start..requested.end.min(size);
    (sent == expected && sent.end.checked_sub(sent.start) == Some(length)).then_some((size, sent))
}

/// Returns the CRC32 of the whole object. That of a multipart upload may be one of its parts' checksums,
/// which ends with their number.
fn whole_crc32(headers: &Headers) -> Option<u32> {
    let is_whole = |kind| kind == "FULL_OBJECT";
    let is_whole = headers.get("x-amz-checksum-type").is_none_or(is_whole);
    headers.get(CHECKSUM).filter(|_| is_whole).and_then(parse_crc32)
}

/// Returns a CRC32 as S3's headers and documents state it.
#[must_use]
pub fn encode_crc32(crc32: u32) -> String {
    base64::encode(crc32.to_be_bytes())
}

fn parse_crc32(text: &str) -> Option<u32> {
    let bytes = base64::decode(text).ok()?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}
