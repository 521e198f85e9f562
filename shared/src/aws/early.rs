//! Connections that are opened early, before a request needs them.
//!
//! A client opens a connection when a request finds none. While a function waits for its database, it can
//! open those to S3 instead, whose TLS handshakes take two round trips and 0.3 ms of CPU each.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use http::Uri;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// Maximum age of an early connection that a request may use. A server closes a connection on which no request
/// arrives.
const MAX_AGE: Duration = Duration::from_secs(5);

/// The early connections of one connector that no request uses yet. Cloning is cheap.
#[derive(Debug)]
pub(super) struct Early<S>(Arc<Mutex<VecDeque<Opening<S>>>>);

/// A connection that is open or being opened. Dropping it closes it.
pub(super) type Connecting<S> = AbortOnDropHandle<Result<S, BoxError>>;

#[derive(Debug)]
struct Opening<S> {
    url: Uri,
    begun_at: Instant,
    connecting: Connecting<S>,
}

impl<S> Early<S> {
    /// Adds a connection to the origin of `url`.
    pub(super) fn add(&self, url: Uri, connecting: Connecting<S>) {
        self.all().push_back(Opening { url, begun_at: Instant::now(), connecting });
    }

    /// Takes the oldest connection to the origin of `url`, if there is one.
    pub(super) fn take(&self, url: &Uri) -> Option<Connecting<S>> {
        let origin = |url: &Uri| (url.scheme().cloned(), url.authority().cloned());
        let mut all = self.all();
        all.retain(|early| early.begun_at.elapsed() < MAX_AGE);
        let at = all.iter().position(|early| origin(&early.url) == origin(url))?;
        all.remove(at).map(|early| early.connecting)
    }

    /// Closes all.
    pub(super) fn clear(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<Opening<S>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Default for Early<S> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<S> Clone for Early<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
