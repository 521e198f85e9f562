//! A web server that stands for those of third parties, with artworks that are not in the vault.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    thread,
};

use anyhow::Result;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use tokio::sync::oneshot;

use crate::server::listen;

type Files = Arc<RwLock<BTreeMap<String, (String, Vec<u8>)>>>;

/// A web server on a free port of this machine. It has its own thread, so that it serves any number
/// of runtimes, and ends when it is dropped.
#[derive(Debug)]
pub struct RemoteHost {
    authority: String,
    files: Files,
    _until_dropped: oneshot::Sender<()>,
}

impl RemoteHost {
    /// Starts a server without files, which responds with 404.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start() -> Result<Self> {
        Self::with_routes(Router::new())
    }

    /// Starts a server that also serves `routes`, for responses that are not files, such as redirects,
    /// errors and delays.
    ///
    /// # Errors
    /// When no port is free.
    pub fn with_routes(routes: Router) -> Result<Self> {
        let files = Files::default();
        let service = routes.merge(Router::new().fallback(serve_file).with_state(files.clone()));
        let listener = listen(0)?;
        listener.set_nonblocking(true)?;
        let authority = listener.local_addr()?.to_string();
        let (sender, dropped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                tokio::select! {
                    _ = axum::serve(listener, service) => {}
                    _ = dropped => {}
                }
            });
        });
        Ok(Self { authority, files, _until_dropped: sender })
    }

    /// Returns `host:port`, as in the parameter `RemoteAllowHosts`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Serves `bytes` under `path`, which begins with a slash; returns the URL.
    pub fn put(&self, path: &str, content_type: &str, bytes: Vec<u8>) -> String {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        files.insert(path.to_owned(), (content_type.to_owned(), bytes));
        self.url(path)
    }

    /// Returns the URL of `path`, whether or not there is a file.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }
}

async fn serve_file(State(files): State<Files>, uri: Uri) -> Response {
    let files = files.read().unwrap_or_else(PoisonError::into_inner);
    let Some((content_type, bytes)) = files.get(uri.path()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    ([(CONTENT_TYPE, content_type.clone())], bytes.clone()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;

    #[tokio::test]
    async fn files_are_served_until_the_server_is_dropped() {
        let host = RemoteHost::start().unwrap();
        let url = host.put("/a/b.png", "image/png", b"pixels".to_vec());
        let answer = http::client().unwrap().get(&url).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "image/png");
        assert_eq!(answer.bytes().await.unwrap(), "pixels");

        let other = http::client().unwrap().get(host.url("/other")).send().await.unwrap();
        assert_eq!(other.status(), 404);

        drop(host);
        crate::wait_until("the end of the server", std::time::Duration::from_secs(5), async || {
            Ok(http::client()?.get(&url).send().await.is_err().then_some(()))
        })
        .await
        .unwrap();
    }
}
