//! Connections, with TLS or without.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rcgen::CertifiedKey;
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

/// Creates a certificate for `localhost` and writes it to `root`: it is its own root certificate.
pub(crate) fn acceptor(root: &Path) -> Result<TlsAcceptor> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    fs::write(root, cert.pem()).with_context(|| format!("failed to write {}", root.display()))?;
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until the process ends. Calls `connected` for every connection.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    routes: Router,
    connected: impl Fn(),
) {
    loop {
        let Ok((connection, _)) = listener.accept().await else { continue };
        connected();
        let (tls, routes) = (tls.clone(), routes.clone());
        tokio::spawn(async move {
            connection.set_nodelay(true)?;
            let connection = match tls {
                Some(tls) => Either::Left(tls.accept(connection).await?),
                None => Either::Right(connection),
            };
            // An error is that of a client that has gone.
            let service = TowerToHyperService::new(routes);
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new());
            anyhow::Ok(http.serve_connection(TokioIo::new(connection), service).await?)
        });
    }
}
