//! Requests to the web. Hosts are treated as hostile, with bounded time and retries.
//!
//! Users supply the URL, the host may lie about everything, and Lambda's runtime API listens on loopback.
//! [`guard`], [`redirect`] and [`resolver`] decide which URLs may be requested; [`hosts`] decides when a host
//! may be requested and when it is given up; [`client`] makes one try.

mod address;
mod client;
mod guard;
mod hosts;
pub mod redirect;
mod resolver;
mod web;

use std::collections::HashSet;

pub use address::is_public;
pub use client::{OpenRemote, Session, TryError};
pub use guard::Target;
pub(crate) use hosts::Host;
pub use web::{Limits, Web, user_agent};

/// The access to the web, from which each batch download request gets a session of its own.
pub struct Remote {
    web: Web,
    allow_hosts: HashSet<String>,
}

impl Remote {
    /// Returns the access to `web`. `allow_hosts` are `host:port` pairs that are exempt from the ban on
    /// private addresses and other ports.
    #[must_use]
    pub fn new(web: Web, allow_hosts: HashSet<String>) -> Self {
        Self { web, allow_hosts }
    }

    /// Returns a session: HTTP clients without connections.
    ///
    /// # Errors
    /// When the TLS configuration is invalid.
    pub fn session(&self) -> Result<Session, Box<dyn std::error::Error + Send + Sync>> {
        Session::new(&self.web, self.allow_hosts.clone())
    }

    /// Returns the time limits.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.web.limits
    }
}

/// Returns the URLs that must be rejected, by kind. The scenarios read the same file.
#[cfg(test)]
fn rejected_urls() -> std::collections::BTreeMap<String, Vec<String>> {
    serde_json::from_str(include_str!("../../fixtures/refused_urls.json")).unwrap()
}
