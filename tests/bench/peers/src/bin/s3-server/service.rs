//! Requests and responses.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_chunked::Framing;
use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use bdr_bench::{artwork::Artwork, traffic::Traffic};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::time::sleep;

use crate::{
    operation::Operation,
    rate::Rate,
    store::{Object, S3Error, Store},
};

/// The header that makes an `UploadPart` an `UploadPartCopy`.
const COPY_SOURCE: &str = "x-amz-copy-source";
const CHECKSUM: &str = "x-amz-checksum-crc32";
/// The bytes that pass a network with a limit at once.
const PACKET_SIZE: usize = 64 * 1024;
/// The rate of a copy: 400 MB/s. It is assumed, as in `docs/performance.md`.
const COPY_BYTES_PER_MICROSECOND: u64 = 400;
const INCOMPLETE_BODY: S3Error = (StatusCode::BAD_REQUEST, "IncompleteBody");
const MALFORMED_XML: S3Error = (StatusCode::BAD_REQUEST, "MalformedXML");
const INVALID_RANGE: S3Error = (StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");
const NOT_IMPLEMENTED: S3Error = (StatusCode::NOT_IMPLEMENTED, "NotImplemented");

/// What all connections share.
pub(crate) struct Service {
    latency: Duration,
    /// The network from the server, and to it.
    network: Option<Arc<[Rate; 2]>>,
    get_mb_s: Option<u32>,
    /// The CRC32 of artworks that were requested.
    crc32s: Mutex<HashMap<Artwork, u32>>,
    /// Has a clone in every request in flight, also if the client goes away.
    in_flight: Arc<()>,
    state: Mutex<Shared>,
}

#[derive(Default)]
pub(crate) struct Shared {
    store: Store,
    pub(crate) traffic: Traffic,
}

/// Returns the routes: `POST /reset?keep` and `GET /traffic` for the benchmark, and S3 for all other
/// paths. S3 accepts every name of a bucket.
pub(crate) fn routes(service: Arc<Service>) -> Router {
    Router::new()
        .route("/reset", post(reset))
        .route("/traffic", get(traffic))
        .fallback(respond)
        .with_state(service)
}

async fn reset(State(service): State<Arc<Service>>, Query(query): Query<BTreeMap<String, String>>) {
    let mut state = service.state();
    state.store.reset(query.contains_key("keep"));
    state.traffic = Traffic::default();
}

async fn traffic(State(service): State<Arc<Service>>) -> Json<Traffic> {
    let state = service.state();
    Json(Traffic { objects: state.store.sizes(), ..state.traffic.clone() })
}

async fn respond(State(service): State<Arc<Service>>, request: Request) -> Response {
    let is_copy = request.headers().contains_key(COPY_SOURCE);
    let operation = Operation::of(request.method(), request.uri(), is_copy);
    let in_flight = Arc::clone(&service.in_flight);
    let count = Arc::strong_count(&in_flight) as u64 - 1;
    service.state().traffic.count(operation.name(), count);
    let result = service.perform(operation, request).await;
    sleep(service.latency).await;
    drop(in_flight);
    result.unwrap_or_else(|(status, code)| {
        service.state().traffic.errors += 1;
        (status, xml("Error", &[("Code", code)])).into_response()
    })
}

impl Service {
    pub(crate) fn new(latency: Duration, network_mb_s: Option<u32>, get_mb_s: Option<u32>) -> Self {
        let network = |rate| Arc::new([Rate::mb_per_second(rate), Rate::mb_per_second(rate)]);
        Self {
            latency,
            network: network_mb_s.map(network),
            get_mb_s,
            crc32s: Mutex::default(),
            in_flight: Arc::default(),
            state: Mutex::default(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, Shared> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn perform(&self, operation: Operation, request: Request) -> Result<Response, S3Error> {
        let (_, key) = request.uri().path()[1..].split_once('/').unwrap_or_default();
        let (key, new) = (key.to_owned(), request.headers().contains_key(header::IF_NONE_MATCH));
        match operation {
            Operation::GetObject => self.get(&key, request.headers()),
            Operation::HeadObject => {
                let size = self.state().store.object(&key)?.size;
                Ok([(header::CONTENT_LENGTH, size)].into_response())
            }
            Operation::PutObject => {
                let received = self.receive(request).await?;
                let e_tag = self.state().store.put(&key, received.object, new)?;
                Ok(stored(&e_tag, received.crc32))
            }
            Operation::CreateMultipartUpload => {
                let id = self.state().store.create();
                Ok(xml("InitiateMultipartUploadResult", &[("Key", &key), ("UploadId", &id)]))
            }
            Operation::UploadPart { upload_id, number } => {
                let received = self.receive(request).await?;
                let e_tag = self.state().store.part(&upload_id, number, received.object)?;
                Ok(stored(&e_tag, received.crc32))
            }
            Operation::UploadPartCopy { upload_id, number } => {
                let part = self.copied(request.headers())?;
                sleep(Duration::from_micros(part.size / COPY_BYTES_PER_MICROSECOND)).await;
                let e_tag = self.state().store.part(&upload_id, number, part)?;
                Ok(xml("CopyPartResult", &[("ETag", &e_tag)]))
            }
            Operation::CompleteMultipartUpload { upload_id } => {
                const MAX_SIZE: usize = 4 * 1024 * 1024;
                let document = to_bytes(request.into_body(), MAX_SIZE).await;
                let document = document.map_err(|_| INCOMPLETE_BODY)?;
                let parts = parts(&String::from_utf8_lossy(&document)).ok_or(MALFORMED_XML)?;
                let e_tag = self.state().store.complete(&key, &upload_id, &parts, new)?;
                Ok(xml("CompleteMultipartUploadResult", &[("Key", &key), ("ETag", &e_tag)]))
            }
            // The benchmark leaves no uploads behind.
            Operation::ListMultipartUploads => Ok(xml("ListMultipartUploadsResult", &[])),
            Operation::AbortMultipartUpload { upload_id } => {
                self.state().store.abort(&upload_id)?;
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            Operation::Unsupported => Err(NOT_IMPLEMENTED),
        }
    }

    fn get(&self, key: &str, headers: &HeaderMap) -> Result<Response, S3Error> {
        let Some(artwork) = Artwork::from_key(key) else {
            let object = self.state().store.object(key)?.clone();
            if object.chunks.is_empty() {
                return Err((StatusCode::FORBIDDEN, "InvalidObjectState")); // it was not kept
            }
            return Ok(self.content(object.size, object.chunks.into_iter()));
        };
        let size = artwork.size;
        let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
        let mut response = match range {
            None => self.content(size, artwork.chunks()),
            Some(range) => {
                let (start, end) = byte_range(range, size).ok_or(INVALID_RANGE)?;
                let mut response = self.content(end - start, artwork.range(start..end));
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let sent = format!("bytes {start}-{}/{size}", end - 1);
                let sent = HeaderValue::try_from(sent).map_err(|_| INVALID_RANGE)?;
                response.headers_mut().insert(header::CONTENT_RANGE, sent);
                response
            }
        };
        let answer = response.headers_mut();
        answer.insert(header::ETAG, HeaderValue::from_static("\"artwork\""));
        if range.is_none() && headers.contains_key("x-amz-checksum-mode") {
            let crc32 = HeaderValue::try_from(base64(self.crc32(artwork).to_be_bytes()));
            let crc32 = crc32.map_err(|_| NOT_IMPLEMENTED)?;
            answer.insert(CHECKSUM, crc32);
            answer.insert("x-amz-checksum-type", HeaderValue::from_static("FULL_OBJECT"));
        }
        Ok(response)
    }

    /// Returns the bytes of an artwork that become a part.
    fn copied(&self, headers: &HeaderMap) -> Result<Object, S3Error> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let source = text(COPY_SOURCE).and_then(|source| source.split_once('/'));
        let artwork = source.and_then(|(_, key)| Artwork::from_key(key)).ok_or(NOT_IMPLEMENTED)?;
        let (start, end) = match text("x-amz-copy-source-range") {
            None => (0, artwork.size),
            Some(range) => byte_range(range, artwork.size).ok_or(INVALID_RANGE)?,
        };
        let chunks = artwork.range(start..end).filter(|_| self.state().store.keep);
        self.state().traffic.copied_bytes += end - start;
        Ok(Object { size: end - start, chunks: chunks.collect() })
    }

    /// Returns the CRC32 of an artwork, which is computed once.
    fn crc32(&self, artwork: Artwork) -> u32 {
        let mut crc32s = self.crc32s.lock().unwrap_or_else(PoisonError::into_inner);
        *crc32s.entry(artwork).or_insert_with(|| {
            let mut hasher = crc32fast::Hasher::new();
            artwork.chunks().for_each(|chunk| hasher.update(&chunk));
            hasher.finalize()
        })
    }

    /// Returns a response with these chunks, at the rates of the network and of a GET.
    fn content(&self, size: u64, chunks: impl Iterator<Item = Bytes> + Send + 'static) -> Response {
        let (network, own) = (self.network.clone(), self.get_mb_s.map(Rate::mb_per_second));
        let body = if network.is_none() && own.is_none() {
            Body::from_stream(stream::iter(chunks.map(Ok::<_, Infallible>)))
        } else {
            let (network, own) = (network, Arc::new(own));
            let chunks = stream::iter(chunks.flat_map(packets).map(Ok::<_, Infallible>));
            Body::from_stream(chunks.then(move |chunk| {
                let (network, own) = (network.clone(), Arc::clone(&own));
                async move {
                    let size = chunk.as_ref().map_or(0, Bytes::len);
                    if let Some(own) = &*own {
                        own.pass(size).await;
                    }
                    if let Some(network) = network {
                        network[0].pass(size).await;
                    }
                    chunk
                }
            }))
        };
        ([(header::CONTENT_LENGTH, size)], body).into_response()
    }

    /// Receives a body, and keeps its content on demand.
    async fn receive(&self, request: Request) -> Result<Received, S3Error> {
        let mut encodings = request.headers().get_all(header::CONTENT_ENCODING).iter();
        let mut framing = match (encodings.next(), encodings.next()) {
            (None, _) => None,
            (Some(encoding), None) if encoding == "aws-chunked" => Some(Framing::default()),
            _ => return Err(NOT_IMPLEMENTED),
        };
        let stated = request.headers().get(CHECKSUM).cloned();
        let keep = self.state().store.keep;
        let mut object = Object::default();
        let mut add = |data: Bytes| {
            object.size += data.len() as u64;
            if keep {
                object.chunks.push(data);
            }
        };
        let mut chunks = request.into_body().into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| INCOMPLETE_BODY)?;
            if let Some(network) = &self.network {
                network[1].pass(chunk.len()).await;
            }
            match &mut framing {
                None => add(chunk),
                Some(framing) => framing.add(chunk, &mut add).map_err(|_| INCOMPLETE_BODY)?,
            }
        }
        let trailer = match framing {
            None => None,
            Some(framing) => {
                let trailers = framing.finish().map_err(|_| INCOMPLETE_BODY)?;
                let checksum = trailers.into_iter().find(|(name, _)| name == CHECKSUM);
                checksum.and_then(|(_, checksum)| HeaderValue::try_from(checksum).ok())
            }
        };
        self.state().traffic.received_bytes += object.size;
        Ok(Received { object, crc32: trailer.or(stated) })
    }
}

/// A body that was received, and the CRC32 that its sender states.
struct Received {
    object: Object,
    crc32: Option<HeaderValue>,
}

/// Cuts a chunk into what passes a network with a limit at once.
fn packets(mut chunk: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        (!chunk.is_empty()).then(|| chunk.split_to(chunk.len().min(PACKET_SIZE)))
    })
}

/// Returns the start and the end of a range (`bytes=0-9`) of an object of `size` bytes.
fn byte_range(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse::<u64>().ok()?);
    (first <= last && first < size).then(|| (first, size.min(last + 1)))
}

/// Encodes a CRC32 as S3 does.
fn base64(bytes: [u8; 4]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u64::from(u32::from_be_bytes(bytes)) << 4;
    let digits = (0..6).map(|n| char::from(DIGITS[(bits >> (30 - 6 * n) & 63) as usize]));
    digits.chain(['=', '=']).collect()
}

/// Returns the response to an upload. States the CRC32 that its sender states: the benchmark compares the ZIPs.
fn stored(e_tag: &str, crc32: Option<HeaderValue>) -> Response {
    let mut response = [(header::ETAG, format!("\"{e_tag}\""))].into_response();
    if let Some(crc32) = crc32 {
        response.headers_mut().insert(CHECKSUM, crc32);
    }
    response
}

/// Returns a document with these elements. Their texts must not need escapes.
fn xml(root: &str, elements: &[(&str, &str)]) -> Response {
    let elements = elements.iter().map(|(name, text)| format!("<{name}>{text}</{name}>"));
    let elements: String = elements.collect();
    let document =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root}>{elements}</{root}>");
    ([(header::CONTENT_TYPE, "application/xml")], document).into_response()
}

/// Returns the numbers and `ETag`s in the body of a `CompleteMultipartUpload`, or `None` without parts.
fn parts(document: &str) -> Option<Vec<(u32, String)>> {
    let parts = document.split("<Part>").skip(1).map(|part| {
        let e_tag = element(part, "ETag")?.replace("&quot;", "\"");
        Some((element(part, "PartNumber")?.parse().ok()?, e_tag.trim_matches('"').to_owned()))
    });
    parts.collect::<Option<Vec<_>>>().filter(|parts| !parts.is_empty())
}

/// Returns the text of the first element with this name and without attributes.
fn element<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_with_the_object() {
        assert_eq!(byte_range("bytes=0-9", 100), Some((0, 10)));
        assert_eq!(byte_range("bytes=90-200", 100), Some((90, 100)));
        assert_eq!(byte_range("bytes=100-101", 100), None);
        assert_eq!(byte_range("bytes=-5", 100), None);
    }

    #[test]
    fn a_crc32_is_encoded_as_base64() {
        // RFC 4648, section 10: `foob` is `Zm9vYg==`.
        assert_eq!(base64(*b"foob"), "Zm9vYg==");
    }

    #[test]
    fn parts_are_parsed_as_the_sdk_writes_them() {
        let document = "<CompleteMultipartUpload xmlns=\"x\"><Part><ChecksumCRC32>a==</ChecksumCRC32>\
            <ETag>&quot;e1&quot;</ETag><PartNumber>1</PartNumber></Part>\
            <Part><ETag>\"e2\"</ETag><PartNumber>2</PartNumber></Part></CompleteMultipartUpload>";
        let part = |number, e_tag: &str| (number, e_tag.to_owned());
        assert_eq!(parts(document).unwrap(), [part(1, "e1"), part(2, "e2")]);
        assert_eq!(parts("<Part><ETag>e</ETag></Part>"), None);
        assert_eq!(parts("<CompleteMultipartUpload></CompleteMultipartUpload>"), None);
    }
}
