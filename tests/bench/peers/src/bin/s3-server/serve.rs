//! Connections.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// A port of its own.
pub(crate) async fn listen() -> Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").await.context("the S3 server cannot listen")
}

/// TLS as `localhost`, by an authority of its own, whose certificate is written to `root`.
pub(crate) fn certified(root: &Path) -> Result<TlsAcceptor> {
    let mut authority = CertificateParams::new([])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate()?;
    // Of another name than the server: OpenSSL takes a certificate issued by its own name for self-signed.
    authority.distinguished_name.push(DnType::CommonName, "bdr-bench");
    fs::write(root, authority.self_signed(&authority_key)?.pem())
        .with_context(|| format!("{} cannot be written", root.display()))?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(["localhost".to_owned()])?
        .signed_by(&key, &Issuer::new(authority, authority_key))?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until the process ends, and tells of every connection.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    routes: Router,
    connected: impl Fn(),
) {
    loop {
        let Ok((connection, _)) = listener.accept().await else { continue };
        connected();
        // Without it, answers would at worst be late.
        let _ = connection.set_nodelay(true);
        let (tls, routes) = (tls.clone(), routes.clone());
        tokio::spawn(async move {
            match tls {
                Some(tls) => {
                    if let Ok(connection) = tls.accept(connection).await {
                        answer(connection, routes).await;
                    }
                }
                None => answer(connection, routes).await,
            }
        });
    }
}

async fn answer(connection: impl AsyncRead + AsyncWrite + Unpin, routes: Router) {
    let service = TowerToHyperService::new(routes);
    // A client that goes away is no concern of ours.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(connection), service)
        .await;
}
