//! The HTTP client for the stack's own addresses.

use anyhow::{Context as _, Result};
use reqwest::Client;

/// Returns a client for plain HTTP on this machine. Create one for each use: its connections belong
/// to one runtime, and every `#[tokio::test]` has its own.
///
/// # Errors
/// When the TLS library rejects its settings.
pub fn client() -> Result<Client> {
    // reqwest requires a provider even without TLS. An error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .context("failed to create the HTTP client")
}
