//! TLS to PostgreSQL: the server's certificate is always verified, against the roots of RDS and
//! the public ones.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio_postgres_rustls::MakeRustlsConnect;

/// The certificate authorities of Amazon RDS in all regions, as AWS publishes them in its global
/// bundle, without those that have expired.
const RDS_BUNDLE: &[u8] = include_bytes!("rds-global-bundle.pem");

/// The connector. Cheap to make after the first time.
pub(super) fn connector() -> Result<MakeRustlsConnect, rustls::Error> {
    static CONFIG: OnceLock<ClientConfig> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(MakeRustlsConnect::new(config.clone()));
    }
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.add_parsable_certificates(
        CertificateDer::pem_slice_iter(RDS_BUNDLE).filter_map(Result::ok),
    );
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(CONFIG.get_or_init(|| config).clone()))
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
