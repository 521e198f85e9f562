//! The HTTP client for the stack's own addresses.

use anyhow::{Context as _, Result};
use reqwest::Client;

/// A client for plain HTTP on this machine. Made anew for each use, because its connections die
/// with the runtime it was used on, and every `#[tokio::test]` has one of its own.
///
/// # Errors
/// When the TLS library refuses its settings.
pub fn client() -> Result<Client> {
    // reqwest wants a provider even where no TLS is spoken. An error means that there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .context("the HTTP client cannot be made")
}
