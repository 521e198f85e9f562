//! Requests and responses.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Query, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use bdr_bench::{artwork::Artwork, traffic::Traffic};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::time::sleep;

use crate::{
    operation::Operation,
    store::{Object, S3Error, Store},
};

const INCOMPLETE_BODY: S3Error = (StatusCode::BAD_REQUEST, "IncompleteBody");
const MALFORMED_XML: S3Error = (StatusCode::BAD_REQUEST, "MalformedXML");
const NOT_IMPLEMENTED: S3Error = (StatusCode::NOT_IMPLEMENTED, "NotImplemented");

/// What all connections share.
pub(crate) struct Service {
    latency: Duration,
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
    let operation = Operation::of(request.method(), request.uri());
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
    pub(crate) fn new(latency: Duration) -> Self {
        Self { latency, in_flight: Arc::default(), state: Mutex::default() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, Shared> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn perform(&self, operation: Operation, request: Request) -> Result<Response, S3Error> {
        let (_, key) = request.uri().path()[1..].split_once('/').unwrap_or_default();
        let (key, new) = (key.to_owned(), request.headers().contains_key(header::IF_NONE_MATCH));
        match operation {
            Operation::GetObject => self.get(&key),
            Operation::HeadObject => {
                let size = self.state().store.object(&key)?.size;
                Ok([(header::CONTENT_LENGTH, size)].into_response())
            }
            Operation::PutObject => {
                let object = self.receive(request).await?;
                Ok(e_tag(&self.state().store.put(&key, object, new)?))
            }
            Operation::CreateMultipartUpload => {
                let id = self.state().store.create();
                Ok(xml("InitiateMultipartUploadResult", &[("Key", &key), ("UploadId", &id)]))
            }
            Operation::UploadPart { upload_id, number } => {
                let part = self.receive(request).await?;
                Ok(e_tag(&self.state().store.part(&upload_id, number, part)?))
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

    fn get(&self, key: &str) -> Result<Response, S3Error> {
        if let Some(artwork) = Artwork::from_key(key) {
            return Ok(content(artwork.size, artwork.chunks()));
        }
        let object = self.state().store.object(key)?.clone();
        if object.chunks.is_empty() {
            return Err((StatusCode::FORBIDDEN, "InvalidObjectState")); // the content was not kept
        }
        Ok(content(object.size, object.chunks.into_iter()))
    }

    /// Receives a body, and keeps its content on demand.
    async fn receive(&self, request: Request) -> Result<Object, S3Error> {
        // `aws-chunked` is S3's own framing of a body.
        let is_framed = |encoding: &HeaderValue| {
            encoding.to_str().is_ok_and(|encoding| encoding.contains("aws-chunked"))
        };
        if request.headers().get_all(header::CONTENT_ENCODING).iter().any(is_framed) {
            return Err(NOT_IMPLEMENTED);
        }
        let keep = self.state().store.keep;
        let mut object = Object::default();
        let mut chunks = request.into_body().into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| INCOMPLETE_BODY)?;
            object.size += chunk.len() as u64;
            if keep {
                object.chunks.push(chunk);
            }
        }
        self.state().traffic.received_bytes += object.size;
        Ok(object)
    }
}

fn content(size: u64, chunks: impl Iterator<Item = Bytes> + Send + 'static) -> Response {
    let body = Body::from_stream(stream::iter(chunks.map(Ok::<_, Infallible>)));
    ([(header::CONTENT_LENGTH, size)], body).into_response()
}

fn e_tag(e_tag: &str) -> Response {
    [(header::ETAG, format!("\"{e_tag}\""))].into_response()
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
