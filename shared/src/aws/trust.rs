//! Certificate authorities that the AWS clients trust.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::config::{ConfigError, Environment};

/// The variable of the AWS SDKs and tools for a file of certificates.
const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// A TLS configuration with the certificate authorities that the AWS clients trust: the public ones
/// of Mozilla's list, which are part of the binary, or those in `AWS_CA_BUNDLE`.
#[derive(Debug, Clone)]
pub struct Trust(pub(super) Arc<ClientConfig>);

impl Trust {
    /// Reads `AWS_CA_BUNDLE`: a PEM file of certificates to trust instead of the public ones, for
    /// networks with a TLS-inspecting proxy.
    ///
    /// # Errors
    /// When the file is missing or contains no valid certificates.
    pub fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        let roots = match environment.optional(CA_BUNDLE) {
            None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
            Some(file) => {
                read(Path::new(file)).map_err(|problem| ConfigError::new(CA_BUNDLE, problem))?
            }
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| ConfigError::new(CA_BUNDLE, error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

fn read(file: &Path) -> Result<RootCertStore, String> {
    let unreadable = |error| format!("names a file that cannot be read as PEM: {error}");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
        let certificate = certificate.map_err(unreadable)?;
        roots
            .add(certificate)
            .map_err(|error| format!("names a file with a bad certificate: {error}"))?;
    }
    if roots.is_empty() {
        return Err("names a file without a certificate".to_owned());
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{CA_BUNDLE, Trust};
    use crate::config::Environment;

    #[test]
    fn a_bundle_must_contain_certificates() {
        let trust = |file: &str| Trust::from_environment(&Environment::of([(CA_BUNDLE, file)]));
        assert!(trust("").is_ok());
        let missing = trust("/nowhere/roots.pem").unwrap_err();
        assert!(missing.to_string().starts_with("environment variable AWS_CA_BUNDLE names a file"));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "no certificate").unwrap();
        let path = file.path().to_str().unwrap();
        assert!(trust(path).unwrap_err().to_string().ends_with("without a certificate"));
    }
}
