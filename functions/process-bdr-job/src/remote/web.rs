//! The web as the function uses it. Tests replace it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::Resolve;
use rustls::RootCertStore;

use super::address::is_public;
use super::resolver::SystemResolver;

/// Name resolution, trust and time limits.
#[derive(Clone)]
pub struct Web {
    /// Resolves names. The addresses are checked afterwards.
    pub resolver: Arc<dyn Resolve>,
    /// Checks the addresses of names.
    pub is_public: fn(IpAddr) -> bool,
    /// The trusted certificate authorities.
    pub roots: RootCertStore,
    /// The value of `User-Agent`: the software, and how to contact the site.
    pub user_agent: String,
    /// The time limits.
    pub limits: Limits,
}

/// Time limits of remote requests.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum time to connect, TLS included.
    pub connection: Duration,
    /// Maximum silence within a response.
    pub silence: Duration,
    /// Maximum time of one try, from the request to the last byte, without the wait for the fetch budget.
    pub one_try: Duration,
    /// Maximum time of all tries for one artwork, without the waits between them.
    pub all_tries: Duration,
    /// The time that an artwork and a host get to recover, from the first failure.
    pub recovery: Duration,
}

/// Returns the value of `User-Agent` for the site at `base_url`: hosts that want a contact find one, and
/// the site's own detection of bots recognizes the request.
#[must_use]
pub fn user_agent(base_url: Option<&str>) -> String {
    let contact = base_url.map(|url| format!("; +{url}")).unwrap_or_default();
    format!("makapix-bdr/{} (bot{contact})", env!("CARGO_PKG_VERSION"))
}

impl Default for Web {
    fn default() -> Self {
        Self {
            resolver: Arc::new(SystemResolver),
            is_public,
            roots: RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
            user_agent: user_agent(None),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connection: Duration::from_secs(5),
            silence: Duration::from_secs(15),
            one_try: Duration::from_secs(30),
            all_tries: Duration::from_mins(1),
            recovery: Duration::from_secs(30),
        }
    }
}
