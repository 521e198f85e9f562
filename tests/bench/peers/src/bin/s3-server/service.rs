//! HTTP in, HTTP out.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use bdr_bench_jobs::artwork::Artwork;
use http_body_util::BodyExt as _;
use tokio::time::sleep;

use crate::{
    chunks::Chunks,
    operation::Operation,
    store::{Object, Refusal, Store},
    traffic::Traffic,
    xml,
};

/// Whatever the connections share.
#[derive(Debug)]
pub(crate) struct Service {
    latency: Duration,
    pub(crate) store: Store,
    pub(crate) traffic: Traffic,
}

/// An error by S3's code for it.
type Answer = Result<Response, (StatusCode, &'static str)>;

impl Service {
    pub(crate) fn new(latency: Duration) -> Self {
        Self { latency, store: Store::default(), traffic: Traffic::default() }
    }

    async fn perform(&self, operation: Operation, request: Request) -> Answer {
        // The bucket's name is whatever the function was told.
        let (_, key) = request.uri().path()[1..].split_once('/').unwrap_or_default();
        let (key, new) = (key.to_owned(), request.headers().contains_key(header::IF_NONE_MATCH));
        match operation {
            Operation::GetObject => self.get(&key),
            Operation::HeadObject => self.head(&key),
            Operation::PutObject => {
                let object = self.receive(request).await?;
                Ok(e_tag(&self.store.put(key, object, new)?))
            }
            Operation::CreateMultipartUpload => {
                let id = self.store.create();
                Ok(answer("InitiateMultipartUploadResult", &[("Key", &key), ("UploadId", &id)]))
            }
            Operation::UploadPart { upload, number } => {
                let part = self.receive(request).await?;
                Ok(e_tag(&self.store.part(&upload, number, part)?))
            }
            Operation::CompleteMultipartUpload { upload } => {
                const LARGEST: usize = 4 * 1024 * 1024;
                let document = axum::body::to_bytes(request.into_body(), LARGEST).await;
                let document = document.map_err(|_| INCOMPLETE)?;
                let parts = xml::parts(&String::from_utf8_lossy(&document))
                    .ok_or((StatusCode::BAD_REQUEST, "MalformedXML"))?;
                let e_tag = self.store.complete(key.clone(), &upload, &parts, new)?;
                Ok(answer("CompleteMultipartUploadResult", &[("Key", &key), ("ETag", &e_tag)]))
            }
            // Nothing is ever left behind that anybody would list.
            Operation::ListMultipartUploads => Ok(answer("ListMultipartUploadsResult", &[])),
            Operation::AbortMultipartUpload { upload } => {
                self.store.abort(&upload)?;
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            Operation::Other => Err((StatusCode::NOT_IMPLEMENTED, "NotImplemented")),
        }
    }

    fn get(&self, key: &str) -> Answer {
        if let Some(artwork) = Artwork::of_key(key) {
            return Ok(Body::new(Chunks::new(artwork.size, artwork.chunks())).into_response());
        }
        let object = self.store.object(key).ok_or(NO_SUCH_KEY)?;
        if object.bytes.is_empty() {
            return Err((StatusCode::FORBIDDEN, "InvalidObjectState")); // its bytes were not kept
        }
        Ok(Body::new(Chunks::new(object.size, object.bytes.into_iter())).into_response())
    }

    fn head(&self, key: &str) -> Answer {
        let artwork = Artwork::of_key(key).map(|artwork| artwork.size);
        let size = artwork.or_else(|| self.store.object(key).map(|object| object.size));
        Ok([(header::CONTENT_LENGTH, size.ok_or(NO_SUCH_KEY)?)].into_response())
    }

    /// Takes a body in, and keeps it only if it is wanted.
    async fn receive(&self, request: Request) -> Result<Object, (StatusCode, &'static str)> {
        if is_framed(request.headers()) {
            return Err((StatusCode::NOT_IMPLEMENTED, "NotImplemented"));
        }
        let keep = self.store.keeps();
        let mut object = Object::default();
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            let Ok(chunk) = frame.map_err(|_| INCOMPLETE)?.into_data() else { continue };
            object.size += chunk.len() as u64;
            if keep {
                object.bytes.push(chunk);
            }
        }
        self.traffic.receive(object.size);
        Ok(object)
    }
}

const NO_SUCH_KEY: (StatusCode, &str) = (StatusCode::NOT_FOUND, "NoSuchKey");
const INCOMPLETE: (StatusCode, &str) = (StatusCode::BAD_REQUEST, "IncompleteBody");

/// The vault itself.
pub(crate) fn s3(service: Arc<Service>) -> Router {
    Router::new().fallback(handle).with_state(service)
}

/// What the benchmark asks beside it: `POST /reset?keep=true`, `GET /traffic`, `GET /object/{key}`.
pub(crate) fn admin(service: Arc<Service>) -> Router {
    Router::new()
        .route("/reset", post(reset))
        .route(
            "/traffic",
            get(async |State(service): State<Arc<Service>>| Json(service.traffic.summary())),
        )
        .route("/object/{*key}", get(object))
        .with_state(service)
}

/// Forgets what was stored and counted. From now on the bytes of what is uploaded are kept only if the
/// query says so.
async fn reset(
    State(service): State<Arc<Service>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> StatusCode {
    service.store.reset(query.contains_key("keep"));
    service.traffic.reset();
    StatusCode::NO_CONTENT
}

/// The size of what was uploaded, as a header, and its bytes if they were kept.
async fn object(State(service): State<Arc<Service>>, Path(key): Path<String>) -> Response {
    let Some(object) = service.store.object(&key) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let size = [("x-size", object.size.to_string())];
    (size, object.bytes.concat()).into_response()
}

async fn handle(State(service): State<Arc<Service>>, request: Request) -> Response {
    let operation = Operation::of(request.method(), request.uri());
    let counted = service.traffic.request(operation.kind());
    let answer = service.perform(operation, request).await;
    sleep(service.latency).await;
    drop(counted);
    answer.unwrap_or_else(|(status, code)| {
        service.traffic.error();
        (status, xml::document("Error", &[("Code", code)])).into_response()
    })
}

/// Whether the body has a frame of S3's own around its chunks (`aws-chunked`).
fn is_framed(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.any(|encoding| encoding.to_str().is_ok_and(|text| text.contains("aws-chunked")))
}

fn e_tag(e_tag: &str) -> Response {
    [(header::ETAG, format!("\"{e_tag}\""))].into_response()
}

fn answer(root: &str, elements: &[(&str, &str)]) -> Response {
    ([(header::CONTENT_TYPE, "application/xml")], xml::document(root, elements)).into_response()
}

impl From<Refusal> for (StatusCode, &'static str) {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchUpload => (StatusCode::NOT_FOUND, "NoSuchUpload"),
            Refusal::InvalidPart => (StatusCode::BAD_REQUEST, "InvalidPart"),
            Refusal::InvalidPartOrder => (StatusCode::BAD_REQUEST, "InvalidPartOrder"),
            Refusal::EntityTooSmall => (StatusCode::BAD_REQUEST, "EntityTooSmall"),
            Refusal::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
        }
    }
}
