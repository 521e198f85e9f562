//! TLS to PostgreSQL. The certificate and the host name are always verified, against the roots of
//! RDS and the public roots, or against those in `sslrootcert`.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The certificate authorities of Amazon RDS in all regions: the global bundle of AWS without
/// expired certificates.
const RDS_BUNDLE: &[u8] = include_bytes!("rds-global-bundle.pem");

/// An error of the TLS setup.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("failed to read the file as PEM")]
    Unreadable(#[source] pem::Error),
    #[error("the file contains no certificate")]
    NoCertificate,
    #[error("failed to set up TLS")]
    Setup(#[from] rustls::Error),
}

/// Returns a connector that trusts the roots of RDS and the public roots. Parses them once per
/// process.
pub(super) fn connector() -> Result<MakeRustlsConnect, TlsError> {
    static CONFIG: OnceLock<ClientConfig> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(MakeRustlsConnect::new(config.clone()));
    }
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.add_parsable_certificates(
        CertificateDer::pem_slice_iter(RDS_BUNDLE).filter_map(Result::ok),
    );
    let config = trusting(roots)?;
    Ok(MakeRustlsConnect::new(CONFIG.get_or_init(|| config).clone()))
}

/// Returns a connector that trusts only the certificates in this PEM file.
pub(super) fn connector_trusting(file: &Path) -> Result<MakeRustlsConnect, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(TlsError::Unreadable)? {
        roots.add(certificate.map_err(TlsError::Unreadable)?)?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    Ok(MakeRustlsConnect::new(trusting(roots)?))
}

fn trusting(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::{CertificateDer, PemObject, RDS_BUNDLE, connector};

    #[test]
    fn every_certificate_of_the_bundle_is_usable() {
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(RDS_BUNDLE).collect::<Result<_, _>>().unwrap();
        let mut roots = rustls::RootCertStore::empty();
        assert_eq!(roots.add_parsable_certificates(certificates), (87, 0));
        assert!(connector().is_ok());
    }
}
