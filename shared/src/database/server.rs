//! A database server: its address, its login, and the certificate authorities to trust.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls;

/// The address, login and TLS settings of a server.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) config: Config,
    /// Trusts the authorities in `sslrootcert`; `None` without one.
    custom_connector: Option<MakeRustlsConnect>,
}

/// An invalid URL or `sslrootcert`. The text quotes only the path of the certificates, because the
/// URL may hold a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServerError {
    #[error("must be a PostgreSQL URL")]
    NotAUrl,
    #[error("has an unusable sslrootcert: {}", .0.display())]
    RootCertificates(PathBuf, #[source] tls::TlsError),
}

impl Server {
    /// Parses a PostgreSQL URL. Handles three of libpq's values that the driver rejects:
    /// `sslrootcert`, and `sslmode=verify-ca` and `verify-full`, which both mean the same as
    /// `require` here.
    pub(super) fn parse(url: &str) -> Result<Self, ServerError> {
        let (rest, query) = split_query(url);
        let mut root_certificates = None;
        let kept: Vec<&str> = query
            .split('&')
            .map(|parameter| match parameter.split_once('=') {
                Some(("sslrootcert", path)) => {
                    root_certificates = Some(path);
                    ""
                }
                Some(("sslmode", "verify-ca" | "verify-full")) => "sslmode=require",
                _ => parameter,
            })
            .filter(|parameter| !parameter.is_empty())
            .collect();
        let config = Config::from_str(&format!("{rest}?{}", kept.join("&")))
            .map_err(|_| ServerError::NotAUrl)?;
        let path = root_certificates.map(|path| percent_decode_str(path).decode_utf8());
        let path = path.transpose().map_err(|_| ServerError::NotAUrl)?;
        Self::new(config, path.as_deref())
    }

    /// Creates a server that trusts only the certificate authorities in the file
    /// `root_certificates`; by default those of RDS and the public ones. Reads the file only if TLS
    /// may be used.
    pub(super) fn new(
        config: Config,
        root_certificates: Option<&str>,
    ) -> Result<Self, ServerError> {
        let path = root_certificates.filter(|_| config.get_ssl_mode() != SslMode::Disable);
        let connector = |path: &Path| {
            tls::connector_trusting(path)
                .map_err(|error| ServerError::RootCertificates(path.to_owned(), error))
        };
        let custom_connector = path.map(Path::new).map(connector).transpose()?;
        Ok(Self { config, custom_connector })
    }

    /// Returns the TLS connector. Created at its first use: parsing the authorities of RDS was 5 of
    /// the 8 million instructions that a function took to start.
    ///
    /// # Errors
    /// When the TLS setup fails.
    pub(super) fn connector(&self) -> Result<MakeRustlsConnect, tls::TlsError> {
        self.custom_connector.clone().map_or_else(tls::connector, Ok)
    }
}

/// Splits a URL from its query as the driver does: the text before an `@` is user name and
/// password, which may contain a `?`.
fn split_query(url: &str) -> (&str, &str) {
    let host = url.find('@').unwrap_or(0);
    match url[host..].find('?') {
        Some(at) => (&url[..host + at], &url[host + at + 1..]),
        None => (url, ""),
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::{Host, SslMode};

    use super::{Server, ServerError};

    #[test]
    fn verify_modes_become_require_and_the_password_is_unchanged() {
        for (mode, expected) in [
            ("verify-full", SslMode::Require),
            ("verify-ca", SslMode::Require),
            ("require", SslMode::Require),
            ("prefer", SslMode::Prefer),
            ("disable", SslMode::Disable),
        ] {
            let url = format!(
                "postgresql://u:a?sslmode=verify-full@h/d?connect_timeout=7&sslmode={mode}"
            );
            let config = Server::parse(&url).unwrap().config;
            assert_eq!(config.get_ssl_mode(), expected, "{mode}");
            assert_eq!(config.get_password(), Some(&b"a?sslmode=verify-full"[..]));
            assert_eq!(config.get_hosts(), [Host::Tcp("h".into())]);
            assert_eq!(config.get_connect_timeout().unwrap().as_secs(), 7);
        }
        for url in ["postgresql://h/d?sslmode=allow", "postgresql://h/d?sslmode=", "h", ""] {
            assert!(matches!(Server::parse(url), Err(ServerError::NotAUrl)), "{url}");
        }
    }

    #[test]
    fn the_error_of_an_unusable_sslrootcert_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("no certificates.pem");
        std::fs::write(&empty, "hunter2").unwrap();
        let encoded = empty.to_str().unwrap().replace(' ', "%20");
        for (path, shown) in [(encoded.as_str(), empty.to_str().unwrap()), ("/no/file", "/no/file")]
        {
            let url = format!("postgresql://u:hunter2@h/d?sslmode=require&sslrootcert={path}");
            let error = Server::parse(&url).err().unwrap().to_string();
            assert!(error.ends_with(shown) && !error.contains("hunter2"), "{error}");
        }
        assert!(Server::parse("postgresql://h/d?sslmode=disable&sslrootcert=/no/file").is_ok());
    }
}
