//! An S3 that takes one multipart upload as strictly as AWS does, where the stand-in is lax: parts
//! of at least 5 MiB but the last, named in order at completion, each with its checksum.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::put;

/// What came in.
#[derive(Clone, Default)]
pub struct StrictS3(Arc<Mutex<Upload>>);

#[derive(Default)]
struct Upload {
    parts: BTreeMap<u32, Bytes>,
    completed: Option<Vec<u8>>,
    never_completes: bool,
    aborted: bool,
}

type Parameters = Query<BTreeMap<String, String>>;

impl StrictS3 {
    /// The routes for any key of any bucket.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/{bucket}/{*key}", put(part).post(begin_or_complete).delete(abort))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(self.clone())
    }

    /// From now on the completion gets no answer.
    pub fn never_complete(&self) {
        self.0.lock().unwrap().never_completes = true;
    }

    /// Whether a part has arrived.
    #[must_use]
    pub fn has_parts(&self) -> bool {
        !self.0.lock().unwrap().parts.is_empty()
    }

    /// Whether the upload was aborted.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.0.lock().unwrap().aborted
    }

    /// The object, if its upload was completed.
    #[must_use]
    pub fn object(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap().completed.clone()
    }
}

async fn part(
    State(s3): State<StrictS3>,
    Query(query): Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let number: u32 = query["partNumber"].parse().unwrap();
    if !headers.contains_key("x-amz-checksum-crc32") {
        return refuse("the part has no checksum");
    }
    // The first part is the last to arrive.
    if number == 1 {
        while s3.0.lock().unwrap().parts.is_empty() {
            tokio::task::yield_now().await;
        }
    }
    s3.0.lock().unwrap().parts.insert(number, body);
    [("ETag", format!("\"{number}\"")), ("x-amz-checksum-crc32", format!("c{number}"))]
        .into_response()
}

async fn begin_or_complete(
    State(s3): State<StrictS3>,
    Query(query): Parameters,
    headers: HeaderMap,
    body: String,
) -> Response {
    if query.contains_key("uploads") {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let kind = (header("x-amz-checksum-algorithm"), header("x-amz-checksum-type"));
        if kind != (Some("CRC32"), Some("COMPOSITE")) {
            return refuse("the upload does not say which checksums its parts carry");
        }
        return "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            .into_response();
    }
    if headers.get("if-none-match").is_none_or(|value| value != "*") {
        return refuse("the completion may replace an object");
    }
    if s3.0.lock().unwrap().never_completes {
        std::future::pending::<()>().await;
    }
    let mut state = s3.0.lock().unwrap();
    let named: Vec<u32> =
        between(&body, "<PartNumber>", "</PartNumber>").map(|n| n.parse().unwrap()).collect();
    let checked: Vec<u32> = between(&body, "<ChecksumCRC32>c", "</ChecksumCRC32>")
        .map(|n| n.parse().unwrap())
        .collect();
    let sent: Vec<u32> = state.parts.keys().copied().collect();
    if named != sent || checked != sent {
        return refuse("the parts are not named in order, each with its checksum");
    }
    let (last, others) = sent.split_last().unwrap();
    if others.iter().any(|number| state.parts[number].len() < 5 << 20)
        || state.parts[last].is_empty()
    {
        return refuse("a part is too small");
    }
    state.completed = Some(state.parts.values().flat_map(|part| part.to_vec()).collect());
    "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>"
        .into_response()
}

async fn abort(State(s3): State<StrictS3>) -> StatusCode {
    s3.0.lock().unwrap().aborted = true;
    StatusCode::NO_CONTENT
}

fn between<'a>(text: &'a str, start: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(start).skip(1).filter_map(move |rest| rest.split(end).next())
}

fn refuse(why: &str) -> Response {
    let error = format!("<Error><Code>InvalidRequest</Code><Message>{why}</Message></Error>");
    (StatusCode::BAD_REQUEST, error).into_response()
}
