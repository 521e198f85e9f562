//! A web host that misbehaves, for the deployed function and for workers in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, LOCATION, RETRY_AFTER};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;

/// The content of the host's artworks: a PNG of a few pixels.
pub const PIXELS: &[u8] = include_bytes!("pixels.png");
/// A WebP of one pixel.
pub const WEBP: &[u8] =
    b"RIFF\x1a\0\0\0WEBPVP8L\r\0\0\0/\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0";

/// Where the Lambda runtime API may listen.
const RUNTIME_API: &str = "http://127.0.0.1:9001/2018-06-01/runtime/invocation/next";

/// The number of requests for each path.
#[derive(Clone, Default)]
pub struct Visits(Arc<Mutex<HashMap<String, u32>>>);

impl Visits {
    /// Returns the number of requests for `path`.
    #[must_use]
    pub fn of(&self, path: &str) -> u32 {
        self.0.lock().unwrap().get(path).copied().unwrap_or(0)
    }

    /// Counts a request for `path`; returns the number so far.
    pub(crate) fn count(&self, path: &str) -> u32 {
        let mut visits = self.0.lock().unwrap();
        let count = visits.entry(path.to_owned()).or_default();
        *count += 1;
        *count
    }
}

/// Returns the host's routes, all served by [`answer`].
pub fn routes(visits: Visits) -> Router {
    Router::new().route("/{behavior}/{*parameters}", get(answer)).with_state(visits)
}

/// Answers by the path. Its last part, ignored here, distinguishes the scenarios.
async fn answer(State(visits): State<Visits>, uri: Uri) -> Response {
    let visit = visits.count(uri.path());
    let parts: Vec<&str> = uri.path().split('/').skip(1).collect();
    let number = |text: &str| text.parse::<u32>().unwrap();
    let status = |text: &str| text.parse::<StatusCode>().unwrap();
    match parts[..] {
        ["status", always, _] => status(always).into_response(),
        ["flaky", failures, at_first, _] if visit <= number(failures) => {
            (status(at_first), [(RETRY_AFTER, "0")]).into_response()
        }
        ["redirect", times, name] if times != "0" => {
            let location = format!("/redirect/{}/{name}", number(times) - 1);
            (StatusCode::FOUND, [(LOCATION, location)]).into_response()
        }
        ["redirect-to-loopback", _] => {
            (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, RUNTIME_API)]).into_response()
        }
        ["silent", _] => std::future::pending().await,
        // The body is not compressed.
        ["encoded", _] => ([(CONTENT_ENCODING, "gzip")], PIXELS).into_response(),
        ["cut", failures, _] if visit <= number(failures) => {
            let half = Ok(Bytes::from_static(&PIXELS[..PIXELS.len() / 2]));
            let body = Body::from_stream(stream::iter([half, Err(std::io::Error::other("cut"))]));
            ([(CONTENT_LENGTH, PIXELS.len())], body).into_response()
        }
        ["endless", _] => {
            let chunk = Bytes::from(vec![0; 64 * 1024]);
            let chunks = stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
            Body::from_stream(chunks).into_response()
        }
        // The body never comes.
        ["announced", bytes, _] => {
            let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
            ([(CONTENT_LENGTH, bytes)], body).into_response()
        }
        ["flaky" | "redirect" | "cut", ..] => PIXELS.into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
