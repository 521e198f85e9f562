//! A web host with bad habits, for the deployed function and for workers alike.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// How often each path was asked for.
#[derive(Clone, Default)]
pub struct Visits(Arc<Mutex<HashMap<String, u32>>>);

impl Visits {
    /// How often `path` was asked for.
    #[must_use]
    pub fn of(&self, path: &str) -> u32 {
        self.0.lock().unwrap().get(path).copied().unwrap_or(0)
    }

    fn count(&self, uri: &Uri) -> u32 {
        self.count_path(uri.path())
    }

    pub(crate) fn count_path(&self, path: &str) -> u32 {
        let mut visits = self.0.lock().unwrap();
        let count = visits.entry(path.to_owned()).or_default();
        *count += 1;
        *count
    }
}

/// The host's routes. `{name}` only keeps scenarios apart.
pub fn routes(visits: Visits) -> Router {
    Router::new()
        .route("/status/{status}/{name}", get(status))
        .route("/flaky/{failures}/{status}/{name}", get(flaky))
        .route("/redirect/{times}/{name}", get(redirect))
        .route("/redirect-to-loopback/{name}", get(redirect_to_loopback))
        .route("/silent/{name}", get(silent))
        .route("/encoded/{name}", get(encoded))
        .route("/cut/{failures}/{name}", get(cut))
        .route("/endless/{name}", get(endless))
        .route("/announced/{bytes}/{name}", get(announced))
        .with_state(visits)
}

/// What an artwork of this host holds: a PNG of a few pixels.
pub const PIXELS: &[u8] = include_bytes!("pixels.png");
/// A WebP of one pixel.
pub const WEBP: &[u8] =
    b"RIFF\x1a\0\0\0WEBPVP8L\r\0\0\0/\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0";

/// Always this status.
async fn status(
    State(visits): State<Visits>,
    Path((status, _)): Path<(u16, String)>,
    uri: Uri,
) -> Response {
    visits.count(&uri);
    StatusCode::from_u16(status).unwrap().into_response()
}

/// This status at first, the artwork later.
async fn flaky(
    State(visits): State<Visits>,
    Path((failures, status, _)): Path<(u32, u16, String)>,
    uri: Uri,
) -> Response {
    if visits.count(&uri) > failures {
        return PIXELS.into_response();
    }
    (StatusCode::from_u16(status).unwrap(), [(RETRY_AFTER, "0")]).into_response()
}

/// So many redirects, then the artwork.
async fn redirect(
    State(visits): State<Visits>,
    Path((times, name)): Path<(u32, String)>,
    uri: Uri,
) -> Response {
    visits.count(&uri);
    match times.checked_sub(1) {
        None => PIXELS.into_response(),
        Some(left) => {
            let to = format!("/redirect/{left}/{name}");
            (StatusCode::FOUND, [(LOCATION, to)]).into_response()
        }
    }
}

/// A redirect to where the Lambda runtime API might listen.
async fn redirect_to_loopback(State(visits): State<Visits>, uri: Uri) -> Response {
    visits.count(&uri);
    let to = HeaderValue::from_static("http://127.0.0.1:9001/2018-06-01/runtime/invocation/next");
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, to)]).into_response()
}

/// No answer at all.
async fn silent(State(visits): State<Visits>, uri: Uri) -> Response {
    visits.count(&uri);
    tokio::time::sleep(Duration::from_hours(1)).await;
    StatusCode::OK.into_response()
}

/// A body that claims to be compressed.
async fn encoded(State(visits): State<Visits>, uri: Uri) -> Response {
    visits.count(&uri);
    ([(CONTENT_ENCODING, "gzip")], PIXELS).into_response()
}

/// A body that breaks off at first, and is whole later.
async fn cut(
    State(visits): State<Visits>,
    Path((failures, _)): Path<(u32, String)>,
    uri: Uri,
) -> Response {
    if visits.count(&uri) > failures {
        return PIXELS.into_response();
    }
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(PIXELS.len()));
    let half = Ok::<_, std::io::Error>(Bytes::from_static(&PIXELS[..PIXELS.len() / 2]));
    let broken = Err(std::io::Error::other("cut"));
    (headers, Body::from_stream(futures_util::stream::iter([half, broken]))).into_response()
}

/// A body without length and without end.
async fn endless(State(visits): State<Visits>, uri: Uri) -> Response {
    visits.count(&uri);
    let chunk = Bytes::from(vec![0; 64 * 1024]);
    let chunks = futures_util::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
    Body::from_stream(chunks).into_response()
}

/// A body that announces so many bytes.
async fn announced(
    State(visits): State<Visits>,
    Path((bytes, _)): Path<(u64, String)>,
    uri: Uri,
) -> Response {
    visits.count(&uri);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    (headers, Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>()))
        .into_response()
}
