//! The web as the function finds it. Tests put another one in its place.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::Resolve;
use rustls::RootCertStore;

use super::address::is_public;
use super::resolver::SystemResolver;

/// What leads to hosts and vouches for them, and how long to wait for them.
pub struct Web {
    /// Names to addresses, which are judged afterwards.
    pub resolver: Arc<dyn Resolve>,
    /// Judges the addresses of names.
    pub is_public: fn(IpAddr) -> bool,
    /// Who may vouch for a host.
    pub roots: RootCertStore,
    /// How long to wait.
    pub limits: Limits,
}

/// How long a host may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest wait for a connection, TLS included.
    pub connection: Duration,
    /// Longest silence within an answer.
    pub silence: Duration,
    /// Longest try, from the request to the last byte, waiting for room not counted.
    pub one_try: Duration,
    /// Longest time for all tries at one artwork.
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
