//! A database server as a URL or a secret describes it: where it is, who logs in, and whose
//! certificate it must show.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls;

/// Where to connect, and how.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) config: Config,
    /// Trusts the operator's own choice of authorities.
    own_choice: Option<MakeRustlsConnect>,
}

/// Why there is no server to be had from a URL. Quotes none of it, since it may hold a password,
/// but for the path of the certificates.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServerError {
    #[error("must be a PostgreSQL URL")]
    NotAUrl,
    #[error("has an sslrootcert that cannot be used: {}", .0.display())]
    RootCertificates(PathBuf, #[source] tls::TlsError),
}

impl Server {
    /// Reads a PostgreSQL URL. Of libpq's parameters, the driver knows neither `sslrootcert` nor
    /// `sslmode=verify-ca` and `verify-full`; both are what `require` does here.
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

    /// Trusts the certificate authorities in the file `root_certificates`, and only these; by
    /// default those of RDS and the public ones. Looks at the file only where TLS may be used.
    pub(super) fn new(
        config: Config,
        root_certificates: Option<&str>,
    ) -> Result<Self, ServerError> {
        let path = root_certificates.filter(|_| config.get_ssl_mode() != SslMode::Disable);
        let trusting = |path: &Path| {
            tls::connector_trusting(path)
                .map_err(|error| ServerError::RootCertificates(path.to_owned(), error))
        };
        let own_choice = path.map(Path::new).map(trusting).transpose()?;
        Ok(Self { config, own_choice })
    }

    /// Opens TLS to it. Not made before it is needed: reading the authorities of RDS was 5 of the 8 million
    /// instructions that a function took to start.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(super) fn connector(&self) -> Result<MakeRustlsConnect, tls::TlsError> {
        self.own_choice.clone().map_or_else(tls::connector, Ok)
    }
}

/// Parts a URL from its query, as the driver does: what comes before an `@` belongs to the name and
/// the password, which may hold a `?`.
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
    fn what_asks_for_verification_gets_it_and_the_password_is_left_alone() {
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
    fn root_certificates_that_are_none_are_an_error_that_names_their_file() {
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
