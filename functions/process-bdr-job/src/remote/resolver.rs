//! Names to addresses: resolved once, and refused if *any* of them is not public.
//!
//! The HTTP client connects to the addresses it gets here, which are those that were checked, so
//! that a name server that changes its answer gains nothing.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Asks the system's resolver.
pub(super) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(addresses.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

/// Passes on what another resolver finds if all of it is public, and else nothing.
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

/// A name that leads to an address that is not public.
#[derive(Debug)]
struct NotPublic;

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name does not lead to public addresses only")
    }
}

impl std::error::Error for NotPublic {}

/// Whether a transport error is our own refusal.
pub(super) fn was_refused(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.into_iter().any(<dyn std::error::Error>::is::<NotPublic>)
}
