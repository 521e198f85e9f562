//! HTTP in, HTTP out.

use std::{net::TcpListener, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    serve::ListenerExt as _,
};
use http_body_util::BodyExt as _;
use tokio::time::sleep;

use super::{
    chunks::Chunks,
    operation::Operation,
    store::{Object, Refusal, Store},
    traffic::Traffic,
    xml,
};
use crate::artwork::Artwork;

/// Whatever the connections share.
#[derive(Debug)]
pub(super) struct Service {
    latency: Duration,
    pub(super) store: Store,
    pub(super) traffic: Traffic,
}

/// An error by S3's code for it.
type Answer = Result<Response, (StatusCode, &'static str)>;

impl Service {
    pub(super) fn new(latency: Duration) -> Self {
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

/// Serves until the process ends.
pub(super) async fn serve(listener: TcpListener, service: Arc<Service>) -> std::io::Result<()> {
    let counted = Arc::clone(&service);
    let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(move |connection| {
        counted.traffic.connection();
        // Without it, answers would at worst be late.
        let _ = connection.set_nodelay(true);
    });
    axum::serve(listener, Router::new().fallback(handle).with_state(service)).await
}

async fn handle(State(service): State<Arc<Service>>, request: Request) -> Response {
    let operation = Operation::of(request.method(), request.uri());
    service.traffic.request(operation.kind());
    let answer = service.perform(operation, request).await;
    sleep(service.latency).await;
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
