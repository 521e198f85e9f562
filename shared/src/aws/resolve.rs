//! The resolver: looks up the addresses of a host once for all connections that are opened together.
//!
//! A lookup by the C library occupies a thread. Without sharing, the connections of a request's first artworks
//! take 128 threads and send as many queries.

use std::io::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec::IntoIter;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tokio::time::Instant;
use tower_service::Service;

/// Time for which connections share a lookup: that in which the first artworks open theirs. The addresses of S3
/// change within seconds.
const MAX_AGE: Duration = Duration::from_secs(1);

/// A resolver that shares lookups. Cloning is cheap and shares them too.
#[derive(Debug, Clone, Default)]
pub(super) struct Resolver {
    lookups: Arc<Mutex<Vec<Entry>>>,
    /// Number of connections so far.
    count: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Entry {
    host: Name,
    begun_at: Instant,
    lookup: Lookup,
}

type Lookup = Shared<BoxFuture<'static, Result<Arc<[SocketAddr]>, Arc<Error>>>>;

impl Resolver {
    fn lookup(&self, host: Name) -> Lookup {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        let is_failed = |lookup: &Lookup| lookup.peek().is_some_and(Result::is_err);
        lookups.retain(|entry| entry.begun_at.elapsed() < MAX_AGE && !is_failed(&entry.lookup));
        if let Some(entry) = lookups.iter().find(|entry| entry.host == host) {
            return entry.lookup.clone();
        }
        let found = GaiResolver::new().call(host.clone());
        let lookup = async move { found.await.map(Iterator::collect).map_err(Arc::new) };
        let lookup = lookup.boxed().shared();
        lookups.push(Entry { host, begun_at: Instant::now(), lookup: lookup.clone() });
        lookup
    }
}

impl Service<Name> for Resolver {
    type Response = IntoIter<SocketAddr>;
    type Error = Arc<Error>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, host: Name) -> Self::Future {
        let (lookup, count) = (self.lookup(host), self.count.fetch_add(1, Ordering::Relaxed));
        Box::pin(async move {
            let mut addresses = lookup.await?.to_vec();
            // Each connection begins with another one, as S3 recommends ("Performance guidelines for Amazon S3").
            let first = count.checked_rem(addresses.len()).unwrap_or(0);
            addresses.rotate_left(first);
            Ok(addresses.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tower_service::Service as _;

    use super::{MAX_AGE, Resolver};

    #[tokio::test]
    async fn connections_share_a_lookup_for_a_second() {
        let resolver = Resolver::default();
        let resolve = |host: &str| resolver.clone().call(host.parse().unwrap());
        let lookups = || resolver.lookups.lock().unwrap();
        let found = join_all((0..128).map(|_| resolve("localhost"))).await;
        assert!(found.into_iter().all(|found| found.unwrap().next().unwrap().ip().is_loopback()));
        assert_eq!(lookups().len(), 1);
        let old = lookups()[0].begun_at.checked_sub(MAX_AGE).unwrap();
        lookups()[0].begun_at = old;
        resolve("localhost").await.unwrap();
        assert!(lookups().len() == 1 && lookups()[0].begun_at > old);
        // An error is not kept.
        resolve("no-such-host.invalid").await.unwrap_err();
        resolve("localhost").await.unwrap();
        assert_eq!(lookups().len(), 1);
    }
}
