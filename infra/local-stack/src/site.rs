//! A small site: a page, and the API behind it. It requests, shows and downloads archives of one artist as
//! `docs/api.md` describes, so that the whole way is tried in a browser.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header::CACHE_CONTROL},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::{LocalStack, lambda, seed, server::listen};

const PAGE: &str = include_str!("site/page.html");

/// The newest requests of the artist, as the page shows them.
const REQUESTS: &str = "
    SELECT coalesce(json_agg(r), '[]')::text FROM (
      SELECT id, status, artwork_count, file_size_bytes, error_message, created_at, expires_at,
             expires_at <= now() AS is_over
        FROM batch_download_requests WHERE user_id = $1 ORDER BY created_at DESC, id LIMIT 20
    ) AS r";

/// The site's server, which the present runtime runs until it is dropped.
#[derive(Debug)]
pub struct Site {
    url: String,
    server: JoinHandle<()>,
}

impl Site {
    /// Starts the site of this artist on `port`; 0 is a free one. A request asks for all `posts`.
    ///
    /// # Errors
    /// When the port is not available, or the database does not respond.
    pub async fn start(
        stack: &LocalStack,
        port: u16,
        artist: i32,
        posts: Vec<i32>,
    ) -> Result<Self> {
        let api = Api {
            database: stack.database().await?,
            sqs: stack.sqs(),
            queue: stack.queue_url()?.to_owned(),
            endpoint: stack.endpoint().to_owned(),
            presign: stack.output("PresignBdrDownloadFunctionName")?.to_owned(),
            artist,
            posts,
        };
        let routes = Router::new()
            .route("/", get(Html(PAGE)))
            .route("/api/requests", get(list).post(request))
            .route("/api/requests/{id}/download", get(download))
            .with_state(Arc::new(api));
        let listener = listen(port)?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap_or(()) });
        Ok(Self { url, server })
    }

    /// Returns the address of the page.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What the API uses, and the artist whose session it has.
struct Api {
    database: Client,
    sqs: aws_sdk_sqs::Client,
    queue: String,
    endpoint: String,
    presign: String,
    artist: i32,
    posts: Vec<i32>,
}

/// An error of the stack, for the developer who reads the response.
struct Failure(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (StatusCode::BAD_GATEWAY, format!("{:#}", self.0)).into_response()
    }
}

async fn list(State(api): State<Arc<Api>>) -> Result<Json<Value>, Failure> {
    let found = api.database.query_one(REQUESTS, &[&api.artist]).await;
    let found = found.context("failed to read the requests")?;
    Ok(Json(serde_json::from_str(found.get(0))?))
}

/// Inserts a request and publishes it. Only pages of this site can send JSON here.
async fn request(
    State(api): State<Arc<Api>>,
    Json(wishes): Json<Value>,
) -> Result<Json<Value>, Failure> {
    let wants = |name: &str| wishes[name] == true;
    let request = seed::Request {
        user_id: api.artist,
        post_ids: api.posts.clone(),
        include_comments: wants("comments"),
        include_reactions: wants("reactions"),
        send_email: wants("email"),
    };
    let id = request.insert(&api.database).await?;
    seed::publish(&api.sqs, &api.queue, id).await?;
    Ok(Json(json!({ "id": id })))
}

/// Returns the answer of `presign-bdr-download` with its HTTP status.
async fn download(State(api): State<Arc<Api>>, Path(id): Path<Uuid>) -> Result<Response, Failure> {
    let question = json!({ "bdr_id": id, "user_id": api.artist });
    let answer = lambda::invoke(&api.endpoint, &api.presign, &question).await?;
    let status = match answer["status"].as_str() {
        Some("ok") => StatusCode::OK,
        Some("not_ready") => StatusCode::CONFLICT,
        Some("expired") => StatusCode::GONE,
        _ => StatusCode::NOT_FOUND,
    };
    Ok((status, [(CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}
