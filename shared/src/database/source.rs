//! The source of the database's address and password: a URL or a secret.

use std::time::Duration;

use serde::Deserialize;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use super::BoxError;
use super::secret::SecretReader;
use super::server::{Server, ServerError};
use crate::config::{ConfigError, Environment};

/// Idle time before a TCP keepalive. NAT gateways drop a connection after 350 s of silence, and a
/// job may send no statement for minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(1);

/// The source of the database's address and password.
#[derive(Clone)]
pub struct DatabaseSource(Source);

#[derive(Clone)]
enum Source {
    /// `DATABASE_URL`.
    Url(Box<Server>),
    /// `DATABASE_SECRET_ARN`: a secret of Secrets Manager. Each new connection reads it, so that it
    /// uses a rotated password.
    Secret {
        arn: String,
        /// `DATABASE_HOST`: replaces the host in the secret.
        host: Option<String>,
    },
}

/// The read of the secret that a connection uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretRead {
    /// The first read; it may be a cached value.
    First,
    /// The read after the server rejected the password.
    AfterRejection,
}

/// The content of a secret: a URL, or the JSON structure that RDS writes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Secret {
    Url {
        url: String,
    },
    Rds {
        host: Option<String>,
        port: Option<u16>,
        username: String,
        password: String,
        dbname: Option<String>,
        sslmode: Option<String>,
        sslrootcert: Option<String>,
    },
}

impl DatabaseSource {
    /// Reads `DATABASE_URL` or `DATABASE_SECRET_ARN`. Exactly one of them must be set, and
    /// `DATABASE_HOST` only with the latter.
    ///
    /// # Errors
    /// When neither or both are set, `DATABASE_HOST` is set with `DATABASE_URL`, or the URL is
    /// invalid.
    pub fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        let host = environment.optional("DATABASE_HOST").map(str::to_owned);
        match (environment.optional("DATABASE_URL"), environment.optional("DATABASE_SECRET_ARN")) {
            (Some(_), None) if host.is_some() => Err(ConfigError::new(
                "DATABASE_HOST",
                "requires DATABASE_SECRET_ARN; with DATABASE_URL, set the host in the URL",
            )),
            (Some(url), None) => Server::parse(url)
                .map(|server| Self(Source::Url(Box::new(server))))
                .map_err(|error| ConfigError::new("DATABASE_URL", error.to_string())),
            (None, Some(arn)) => Ok(Self(Source::Secret { arn: arn.to_owned(), host })),
            (None, None) => Err(ConfigError::new(
                "DATABASE_URL",
                "is not set, and neither is DATABASE_SECRET_ARN; set one of them",
            )),
            (Some(_), Some(_)) => Err(ConfigError::new(
                "DATABASE_URL",
                "and DATABASE_SECRET_ARN are both set; set only one of them",
            )),
        }
    }

    /// Returns whether the password may have been rotated since it was read.
    pub(super) fn can_rotate(&self) -> bool {
        matches!(self.0, Source::Secret { .. })
    }

    pub(super) async fn server(
        &self,
        secrets: Option<&SecretReader>,
        secret_read: SecretRead,
    ) -> Result<Server, BoxError> {
        let mut server = match &self.0 {
            Source::Url(server) => server.as_ref().clone(),
            Source::Secret { arn, host } => {
                let reader = secrets
                    .ok_or("the source is a secret, but there is no client for Secrets Manager")?;
                let text = match secret_read {
                    SecretRead::First => reader.read(arn).await?,
                    SecretRead::AfterRejection => reader.read_after_rejection(arn).await?,
                };
                from_secret(&text, host.as_deref())?
            }
        };
        server.config.keepalives_idle(KEEPALIVE_IDLE);
        Ok(server)
    }
}

/// Reads a secret. `host_override` replaces its host.
fn from_secret(text: &str, host_override: Option<&str>) -> Result<Server, BoxError> {
    let secret: Secret = serde_json::from_str(text).map_err(
        |_| "the database secret is neither {\"url\"} nor the JSON structure that RDS writes",
    )?;
    let server = match secret {
        Secret::Url { .. } if host_override.is_some() => {
            return Err(
                "the database secret holds a url: unset DATABASE_HOST, or set the host in the url"
                    .into(),
            );
        }
        Secret::Url { url } => Server::parse(&url),
        Secret::Rds { host, port, username, password, dbname, sslmode, sslrootcert } => {
            let mut config = Config::new();
            let host = host_override.or(host.as_deref()).ok_or(
                "the database secret has no host (RDS does not store one): set DATABASE_HOST",
            )?;
            config.host(host).port(port.unwrap_or(5432)).user(&username).password(password);
            config.dbname(dbname.as_deref().unwrap_or("postgres"));
            config.ssl_mode(match sslmode.as_deref() {
                Some("disable") => SslMode::Disable,
                Some("prefer") => SslMode::Prefer,
                _ => SslMode::Require,
            });
            Server::new(config, sslrootcert.as_deref())
        }
    };
    server.map_err(|error| match error {
        ServerError::NotAUrl => "the url in the database secret is not a PostgreSQL URL".into(),
        other @ ServerError::RootCertificates(..) => other.into(),
    })
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::{Host, SslMode};

    use super::{DatabaseSource, from_secret};
    use crate::config::Environment;

    #[test]
    fn a_secret_of_rds_requires_tls_by_default() {
        let secret = r#"{"host":"db.example","port":5433,"username":"u","password":"p","dbname":"d","engine":"postgres"}"#;
        let config = from_secret(secret, None).unwrap().config;
        assert_eq!(config.get_hosts(), [Host::Tcp("db.example".into())]);
        assert_eq!(config.get_ports(), [5433]);
        assert_eq!(config.get_ssl_mode(), SslMode::Require);
        let own = secret.replace('{', r#"{"sslrootcert":"/no/file","#);
        let error = from_secret(&own, None).err().unwrap().to_string();
        assert!(error.ends_with("/no/file"), "{error}");
        let secret = r#"{"url":"postgresql://u:p@h/d?sslmode=disable"}"#;
        assert_eq!(from_secret(secret, None).unwrap().config.get_ssl_mode(), SslMode::Disable);
    }

    #[test]
    fn database_host_replaces_or_supplies_the_host_of_a_secret() {
        for host in [r#""host":"db.example","#, ""] {
            let secret = format!(r#"{{{host}"username":"u","password":"p"}}"#);
            let config = from_secret(&secret, Some("proxy.example")).unwrap().config;
            assert_eq!(config.get_hosts(), [Host::Tcp("proxy.example".into())]);
        }
        for (secret, host) in [
            (r#"{"username":"u","password":"hunter2"}"#, None),
            (r#"{"url":"postgresql://u:hunter2@h/d"}"#, Some("proxy.example")),
        ] {
            let error = from_secret(secret, host).err().unwrap().to_string();
            assert!(error.contains("DATABASE_HOST") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn no_error_contains_a_password() {
        let environment = Environment::of([("DATABASE_URL", "postgresql://u:hunter2@h:port/d")]);
        let error = DatabaseSource::from_environment(&environment).err().unwrap().to_string();
        assert!(error.contains("DATABASE_URL") && !error.contains("hunter2"), "{error}");
        let error =
            from_secret(r#"{"url":"postgresql://u:hunter2@h:port/d"}"#, None).err().unwrap();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn exactly_one_source_must_be_set() {
        assert!(DatabaseSource::from_environment(&Environment::default()).is_err());
        let both = [("DATABASE_URL", "postgresql://h/d"), ("DATABASE_SECRET_ARN", "arn:x")];
        assert!(DatabaseSource::from_environment(&Environment::of(both)).is_err());
        let host = [("DATABASE_URL", "postgresql://h/d"), ("DATABASE_HOST", "proxy.example")];
        assert!(DatabaseSource::from_environment(&Environment::of(host)).is_err());
    }
}
