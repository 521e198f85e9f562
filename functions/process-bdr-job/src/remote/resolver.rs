//! Resolves a name once, and rejects it if *any* of its addresses is not public.
//!
//! The HTTP client connects to the checked addresses, so a name server gains nothing by changing its
//! response.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The system's resolver.
pub(super) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(addresses.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

/// A resolver that returns the addresses of another one if all of them are public.
pub(super) struct PublicResolver {
    pub(super) inner: Arc<dyn Resolve>,
    pub(super) is_public: fn(IpAddr) -> bool,
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, is_public) = (self.inner.resolve(name), self.is_public);
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = found.await?.collect();
            if !addresses.iter().all(|address| is_public(address.ip())) {
                return Err(NotPublic.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The error of a name with an address that is not public.
#[derive(Debug)]
struct NotPublic;

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name resolves to a private address")
    }
}

impl std::error::Error for NotPublic {}

/// Returns whether [`PublicResolver`] caused a transport error.
pub(super) fn is_not_public(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.into_iter().any(<dyn std::error::Error>::is::<NotPublic>)
}
