//! The connections of a client that may need many at once.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_runtime_api::shared::IntoShared as _;
use http::Uri;
use tokio::time::Instant;

use super::Trust;
use super::connect::Connector;
use super::http::{Http, IDLE_TIMEOUT};

/// An HTTP client that reuses its connections, and can open them before requests need them. Cloning is cheap
/// and shares the connections.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    http: Http,
    connector: Connector,
    /// The time at which early connections were closed last.
    closed_at: Mutex<Option<Instant>>,
}

/// Early connections. Dropping this closes those that no request has used.
#[must_use]
pub struct EarlyConnections(Connections);

impl Connections {
    /// Creates a client without a connection.
    #[must_use]
    pub fn new(trust: &Trust) -> Self {
        let connector = Connector::new(trust);
        let (http, closed_at) = (Http::pooled(connector.clone()), Mutex::default());
        Self(Arc::new(Shared { http, connector, closed_at }))
    }

    /// Returns the HTTP client.
    #[must_use]
    pub fn http_client(&self) -> SharedHttpClient {
        self.0.http.clone().into_shared()
    }

    /// Opens `count` connections to the origin of `url` in the background, unless the client still has those of
    /// an earlier use.
    pub fn open_early(&self, url: &Uri, count: usize) -> EarlyConnections {
        let closed_at = *self.0.closed_at.lock().unwrap_or_else(PoisonError::into_inner);
        if closed_at.is_none_or(|at| at.elapsed() >= IDLE_TIMEOUT) {
            self.0.connector.open_early(url, count);
        }
        EarlyConnections(self.clone())
    }
}

impl Drop for EarlyConnections {
    fn drop(&mut self) {
        let Shared { connector, closed_at, .. } = &*self.0.0;
        connector.close_early();
        *closed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::Connections;
    use crate::aws::Trust;
    use crate::config::Environment;

    #[tokio::test]
    async fn early_connections_are_closed_with_their_owner_and_not_opened_again_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/vault", listener.local_addr().unwrap()).parse().unwrap();
        let connections =
            Connections::new(&Trust::from_environment(&Environment::default()).unwrap());
        let early = connections.open_early(&url, 2);
        let mut accepted = [listener.accept().await.unwrap().0, listener.accept().await.unwrap().0];
        assert!(accepted[0].read_u8().now_or_never().is_none(), "it is open");
        drop(early);
        for stream in &mut accepted {
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "it is closed");
        }
        // The client still has the connections of requests in between.
        let _early = connections.open_early(&url, 2);
        tokio::task::yield_now().await;
        assert!(listener.accept().now_or_never().is_none());
    }
}
