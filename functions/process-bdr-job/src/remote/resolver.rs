//! Resolves a name once, and rejects it if *any* of its addresses is not public.
//!
//! The HTTP client connects to the checked addresses, so a name server gains nothing by changing its
//! response.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Addresses that are tried per name. The HTTP client divides its connect timeout by their number, so
/// a name with many would get milliseconds for each.
const MAX_ADDRESSES: usize = 3;

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

/// Another resolver with recognizable failures, a few addresses per name, and an optional check.
pub(super) struct CheckedResolver {
    pub(super) inner: Arc<dyn Resolve>,
    /// Returns whether an address may be connected to; `None` accepts all.
    pub(super) is_public: Option<fn(IpAddr) -> bool>,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, is_public) = (self.inner.resolve(name), self.is_public);
        Box::pin(async move {
            let found = found.await.map_err(failure)?;
            let addresses: Vec<SocketAddr> = found.collect();
            if is_public.is_some_and(|is| !addresses.iter().all(|address| is(address.ip()))) {
                return Err(NotPublic.into());
            }
            Ok(Box::new(addresses.into_iter().take(MAX_ADDRESSES)) as Addrs)
        })
    }
}

/// Marks the failure of a name that does not exist. A name server that does not respond is not the
/// name's fault (`EAI_AGAIN` of getaddrinfo, which the standard library returns as text).
fn failure(error: Box<dyn Error + Send + Sync>) -> Box<dyn Error + Send + Sync> {
    if error.to_string().contains("Temporary failure") { error } else { NotResolved(error).into() }
}

/// The error of a name with an address that is not public.
#[derive(Debug)]
struct NotPublic;

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name resolves to a private address")
    }
}

impl Error for NotPublic {}

/// The error of a name that does not resolve.
#[derive(Debug)]
struct NotResolved(Box<dyn Error + Send + Sync>);

impl fmt::Display for NotResolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name does not resolve: {}", self.0)
    }
}

impl Error for NotResolved {}

/// Returns whether a transport error is the rejection of a private address.
pub(super) fn is_not_public(error: &reqwest::Error) -> bool {
    has_cause(error, <dyn Error>::is::<NotPublic>)
}

/// Returns whether a transport error is a name that does not resolve.
pub(super) fn is_unresolved(error: &reqwest::Error) -> bool {
    has_cause(error, <dyn Error>::is::<NotResolved>)
}

/// Returns whether one of an error's causes matches.
pub(super) fn has_cause(
    error: &reqwest::Error,
    matches: impl Fn(&(dyn Error + 'static)) -> bool,
) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if matches(error) {
            return true;
        }
        // The source of an I/O error is that of the error inside it, and skips that one.
        let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    false
}
