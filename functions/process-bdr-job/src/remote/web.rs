//! The web as the function uses it. Tests replace it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::Resolve;
use rustls::RootCertStore;

use super::address::is_public;
use super::resolver::SystemResolver;

/// Name resolution, trust and time limits.
pub struct Web {
    /// Resolves names. The addresses are checked afterwards.
    pub resolver: Arc<dyn Resolve>,
    /// Checks the addresses of names.
    pub is_public: fn(IpAddr) -> bool,
    /// The trusted certificate authorities.
    pub roots: RootCertStore,
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
    /// Maximum time of all tries for one artwork.
    pub all_tries: Duration,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            resolver: Arc::new(SystemResolver),
            is_public,
            roots: RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
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
        }
    }
}
