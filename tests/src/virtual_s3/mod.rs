//! An S3 that enforces the rules of S3 which the stand-in does not, and that needs almost no memory: it makes
//! artworks up while it sends them, and of most uploaded bytes it keeps size and CRC32 only.
//!
//! It has the operations of process-bdr-job. Copies refer to what they copy, so the CRC32 of an archive that
//! was joined from segments is known.

mod content;
mod store;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use aws_chunked::Framing;
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, routing::any};
use crc32fast::Hasher;
use futures_util::{StreamExt as _, stream};
use local_stack::remote::RemoteHost;

pub use content::MadeUp;
use content::{Content, Received};
use store::{INVALID_REQUEST, Listed, Object, PRECONDITION_FAILED, S3Error, Store};

const INCOMPLETE_BODY: S3Error = (StatusCode::BAD_REQUEST, "IncompleteBody");
const BAD_DIGEST: S3Error = (StatusCode::BAD_REQUEST, "BadDigest");
const INVALID_RANGE: S3Error = (StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");
const NOT_IMPLEMENTED: S3Error = (StatusCode::NOT_IMPLEMENTED, "NotImplemented");
const CHECKSUM: &str = "x-amz-checksum-crc32";
/// Time of the last change of all objects.
const LAST_MODIFIED: &str = "Tue, 04 Mar 2025 05:06:08 GMT";

/// The server. It ends when it is dropped.
pub struct VirtualS3 {
    host: RemoteHost,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    store: Mutex<Store>,
    crc32s: Mutex<HashMap<MadeUp, u32>>,
    requests: Mutex<BTreeMap<&'static str, u64>>,
    /// Whether the responses to copies state another CRC32 than that of the copied bytes.
    corrupts_copies: AtomicBool,
}

/// An object of which not all bytes are kept, as a file. The others read as zeros.
pub struct SparseFile {
    content: Content,
    position: u64,
}

impl VirtualS3 {
    /// Starts a server without uploaded objects.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start() -> Result<Self> {
        let shared = Arc::<Shared>::default();
        let routes = Router::new().route("/{*path}", any(respond)).with_state(shared.clone());
        Ok(Self { host: RemoteHost::with_routes(routes)?, shared })
    }

    /// Returns the URL of the server.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.host.url("")
    }

    /// Returns the sizes of the uploaded objects by key.
    #[must_use]
    pub fn sizes(&self) -> BTreeMap<String, u64> {
        let store = lock(&self.shared.store);
        store.objects.iter().map(|(key, object)| (key.clone(), object.content.size())).collect()
    }

    /// Returns the number of open uploads.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        lock(&self.shared.store).uploads().len()
    }

    /// Returns the CRC32 of an uploaded object.
    ///
    /// # Errors
    /// When the object does not exist, or contains a piece of a body that was not kept.
    pub fn crc32(&self, key: &str) -> Result<u32> {
        self.content(key)?.crc32().with_context(|| format!("{key} has a piece of unknown CRC32"))
    }

    /// Returns an uploaded object.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn file(&self, key: &str) -> Result<SparseFile> {
        Ok(SparseFile { content: self.content(key)?, position: 0 })
    }

    /// Makes the responses to copies state another CRC32 than that of the copied bytes.
    pub fn corrupt_copies(&self, are_corrupt: bool) {
        self.shared.corrupts_copies.store(are_corrupt, Ordering::Relaxed);
    }

    /// Deletes an uploaded object.
    pub fn delete(&self, key: &str) {
        lock(&self.shared.store).objects.remove(key);
    }

    /// Returns the number of requests by operation, and counts from zero again.
    #[must_use]
    pub fn take_requests(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut *lock(&self.shared.requests))
    }

    fn content(&self, key: &str) -> Result<Content> {
        let object = lock(&self.shared.store).object(key).cloned();
        Ok(object.ok().with_context(|| format!("{key} does not exist"))?.content)
    }
}

impl Read for SparseFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.content.size();
        let end = size.min(self.position + buffer.len() as u64);
        if self.position >= end {
            return Ok(0);
        }
        // Within one body, so that the bytes beside others that were not kept are read.
        let slice = self.content.slice(self.position..end).first();
        let read = usize::try_from(slice.size()).map_err(io::Error::other)?;
        match slice.bytes().as_deref() {
            Some([bytes]) => buffer[..read].copy_from_slice(bytes),
            _ => buffer[..read].fill(0),
        }
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for SparseFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.content.size().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn respond(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let response = shared.perform(request).await;
    response.unwrap_or_else(|(status, code)| {
        (status, xml("Error", &format!("<Code>{code}</Code>"))).into_response()
    })
}

impl Shared {
    async fn perform(&self, request: Request) -> Result<Response, S3Error> {
        let query = Query::<HashMap<String, String>>::try_from_uri(request.uri());
        let Query(query) = query.unwrap_or_default();
        let path = request.uri().path().to_owned();
        let key = path[1..].split_once('/').map_or("", |(_, key)| key);
        let headers = request.headers().clone();
        let is_new = headers.contains_key(header::IF_NONE_MATCH);
        let upload = query.get("uploadId").map(String::as_str);
        let number = query.get("partNumber").and_then(|number| number.parse().ok());
        let has = |name: &str| query.contains_key(name);
        match (request.method().as_str(), upload) {
            ("GET", None) if has("uploads") => Ok(self.list_uploads()),
            ("GET", None) => self.count("GetObject").get(key, &headers, true),
            ("HEAD", None) => self.count("HeadObject").get(key, &headers, false),
            ("PUT", None) => {
                self.count("PutObject");
                let received = receive(request, true).await?;
                Ok(e_tag(&lock(&self.store).put(key, received.into(), is_new)?))
            }
            ("POST", None) if has("delete") => {
                self.count("DeleteObjects");
                for key in elements(&text(request).await?, "Key") {
                    lock(&self.store).objects.remove(&key);
                }
                Ok(xml("DeleteResult", ""))
            }
            ("DELETE", None) => {
                self.count("DeleteObject");
                lock(&self.store).objects.remove(key);
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            ("POST", None) if has("uploads") => {
                self.count("CreateMultipartUpload");
                if value(&headers, "x-amz-checksum-algorithm") != "CRC32" {
                    return Err(INVALID_REQUEST);
                }
                let id = lock(&self.store).create(key);
                let elements = format!("<Key>{key}</Key><UploadId>{id}</UploadId>");
                Ok(xml("InitiateMultipartUploadResult", &elements))
            }
            ("PUT", Some(id)) if headers.contains_key("x-amz-copy-source") => {
                self.count("UploadPartCopy").copy(id, number.ok_or(INVALID_REQUEST)?, &headers)
            }
            ("PUT", Some(id)) => {
                self.count("UploadPart");
                let number = number.ok_or(INVALID_REQUEST)?;
                let keeps = lock(&self.store).keeps(id, number);
                let received = receive(request, keeps).await?;
                let crc32 = base64(received.crc32.to_be_bytes());
                let part = lock(&self.store).part(id, number, crc32.clone(), received.into());
                let mut response = e_tag(&part?);
                let crc32 = HeaderValue::try_from(crc32).map_err(|_| INVALID_REQUEST)?;
                response.headers_mut().insert(CHECKSUM, crc32);
                Ok(response)
            }
            ("POST", Some(id)) => {
                self.count("CompleteMultipartUpload");
                let listed = listed(&text(request).await?).ok_or(INVALID_REQUEST)?;
                let tag = lock(&self.store).complete(key, id, &listed, is_new)?;
                let elements = format!("<Key>{key}</Key><ETag>\"{tag}\"</ETag>");
                Ok(xml("CompleteMultipartUploadResult", &elements))
            }
            ("DELETE", Some(id)) => {
                self.count("AbortMultipartUpload");
                lock(&self.store).abort(id)?;
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            _ => Err(NOT_IMPLEMENTED),
        }
    }

    fn count(&self, operation: &'static str) -> &Self {
        *lock(&self.requests).entry(operation).or_default() += 1;
        self
    }

    fn list_uploads(&self) -> Response {
        self.count("ListMultipartUploads");
        let uploads = lock(&self.store).uploads().into_iter();
        let uploads = uploads
            .map(|(key, id)| format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId></Upload>"));
        xml("ListMultipartUploadsResult", &uploads.collect::<String>())
    }

    fn get(&self, key: &str, headers: &HeaderMap, with_body: bool) -> Result<Response, S3Error> {
        let made_up = MadeUp::of(key);
        let object = match made_up {
            Some(_) => Object { content: Content::default(), e_tag: made_up_e_tag() },
            None => lock(&self.store).object(key)?.clone(),
        };
        let condition = value(headers, "if-match");
        if !condition.is_empty() && condition.trim_matches('"') != object.e_tag {
            return Err(PRECONDITION_FAILED);
        }
        let size = made_up.map_or_else(|| object.content.size(), |artwork| artwork.size);
        let asked = value(headers, "range");
        let range = if asked.is_empty() { Some(0..size) } else { byte_range(asked, size) };
        let range = range.ok_or(INVALID_RANGE)?;
        let mut response = Response::builder()
            .header(header::ETAG, format!("\"{}\"", object.e_tag))
            .header(header::LAST_MODIFIED, LAST_MODIFIED)
            .header(header::CONTENT_LENGTH, range.end - range.start);
        if !asked.is_empty() {
            let content_range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            response = response
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, content_range);
        } else if let Some(artwork) = made_up {
            let crc32 = *lock(&self.crc32s).entry(artwork).or_insert_with(|| artwork.crc32());
            response = response
                .header(CHECKSUM, base64(crc32.to_be_bytes()))
                .header("x-amz-checksum-type", "FULL_OBJECT");
        }
        let body = match made_up {
            _ if !with_body => Body::empty(),
            Some(artwork) => body(artwork.bytes(range)),
            // A test that needs these bytes has to keep them.
            None => body(object.content.slice(range).bytes().ok_or(NOT_IMPLEMENTED)?.into_iter()),
        };
        response.body(body).map_err(|_| INVALID_REQUEST)
    }

    fn copy(&self, id: &str, number: u32, headers: &HeaderMap) -> Result<Response, S3Error> {
        let (_, source) =
            value(headers, "x-amz-copy-source").split_once('/').ok_or(INVALID_REQUEST)?;
        let if_match = value(headers, "x-amz-copy-source-if-match").trim_matches('"');
        let range = match value(headers, "x-amz-copy-source-range") {
            "" => None,
            range => Some(byte_range(range, u64::MAX).ok_or(INVALID_REQUEST)?),
        };
        let source = match MadeUp::of(source) {
            Some(artwork) => Object { content: artwork.into(), e_tag: made_up_e_tag() },
            None => lock(&self.store).object(source)?.clone(),
        };
        let copied = lock(&self.store).copy(id, number, &source, if_match, range);
        let (tag, mut crc32) = copied?;
        if self.corrupts_copies.load(Ordering::Relaxed) {
            crc32 = base64([0; 4]);
        }
        let elements = format!("<ETag>\"{tag}\"</ETag><ChecksumCRC32>{crc32}</ChecksumCRC32>");
        Ok(xml("CopyPartResult", &elements))
    }
}

/// Returns the `ETag` of all artworks that are made up.
fn made_up_e_tag() -> String {
    format!("{:032x}", 0)
}

/// Reads the body of a request, and checks it against the checksum in the header or in the trailer.
async fn receive(request: Request, keeps: bool) -> Result<Received, S3Error> {
    let headers = request.headers();
    let mut stated = value(headers, CHECKSUM).to_owned();
    let announced: Option<u64> = value(headers, "x-amz-decoded-content-length").parse().ok();
    let is_framed = value(headers, "x-amz-content-sha256") == "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    if is_framed != (value(headers, "content-encoding") == "aws-chunked")
        || is_framed != announced.is_some()
        || is_framed != (value(headers, "x-amz-trailer") == CHECKSUM)
    {
        return Err(INVALID_REQUEST);
    }
    let mut framing = is_framed.then(Framing::default);
    let (mut size, mut hasher, mut kept) = (0, Hasher::new(), Vec::new());
    let mut add = |data: Bytes| {
        size += data.len() as u64;
        hasher.update(&data);
        if keeps {
            kept.extend_from_slice(&data);
        }
    };
    let mut chunks = request.into_body().into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| INCOMPLETE_BODY)?;
        match &mut framing {
            None => add(chunk),
            Some(framing) => framing.add(chunk, &mut add).map_err(|_| INCOMPLETE_BODY)?,
        }
    }
    if let Some(framing) = framing {
        let trailers = framing.finish().map_err(|_| INCOMPLETE_BODY)?;
        let checksum = trailers.into_iter().find(|(name, _)| name == CHECKSUM);
        (_, stated) = checksum.ok_or(INVALID_REQUEST)?;
    }
    if announced.is_some_and(|announced| announced != size) {
        return Err(INCOMPLETE_BODY);
    }
    let crc32 = hasher.finalize();
    if !stated.is_empty() && stated != base64(crc32.to_be_bytes()) {
        return Err(BAD_DIGEST);
    }
    Ok(Received { size, crc32, bytes: keeps.then(|| kept.into()) })
}

async fn text(request: Request) -> Result<String, S3Error> {
    let body = receive(request, true).await?.bytes.unwrap_or_default();
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn body(chunks: impl Iterator<Item = Bytes> + Send + 'static) -> Body {
    Body::from_stream(stream::iter(chunks.map(Ok::<_, Infallible>)))
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Returns a range (`bytes=0-9`, or the last bytes: `bytes=-9`) of an object of `size` bytes.
fn byte_range(range: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let last: u64 = last.parse().ok()?;
    if first.is_empty() {
        return (size > 0).then(|| size.saturating_sub(last)..size);
    }
    let first = first.parse().ok()?;
    (first <= last && first < size).then(|| first..size.min(last + 1))
}

/// Encodes a CRC32 as S3 does.
fn base64(bytes: [u8; 4]) -> String {
    aws_smithy_types::base64::encode(bytes)
}

fn e_tag(e_tag: &str) -> Response {
    [(header::ETAG, format!("\"{e_tag}\""))].into_response()
}

fn xml(root: &str, elements: &str) -> Response {
    let document =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root}>{elements}</{root}>");
    ([(header::CONTENT_TYPE, "application/xml")], document).into_response()
}

/// Returns the parts in the body of a `CompleteMultipartUpload`, or `None` without parts.
fn listed(document: &str) -> Option<Vec<Listed>> {
    let parts = document.split("<Part>").skip(1).map(|part| {
        let element = |name| elements(part, name).next();
        let e_tag = element("ETag")?.replace("&quot;", "\"").trim_matches('"').to_owned();
        let number = element("PartNumber")?.parse().ok()?;
        Some(Listed { number, e_tag, crc32: element("ChecksumCRC32") })
    });
    parts.collect::<Option<Vec<_>>>().filter(|parts| !parts.is_empty())
}

/// Returns the texts of the elements with this name and without attributes.
fn elements(document: &str, name: &str) -> impl Iterator<Item = String> {
    let (start, end) = (format!("<{name}>"), format!("</{name}>"));
    let texts = document.split(&*start).skip(1);
    let texts = texts.filter_map(|rest| Some(rest.split_once(&*end)?.0.to_owned()));
    texts.collect::<Vec<_>>().into_iter()
}
