//! The functions' connection to a PostgreSQL with TLS: Debian's, because the embedded one of the
//! local stack was built without TLS.

use std::io::Write as _;
use std::path::Path;

use local_stack::{Identity, InstalledPostgres};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use shared::config::Environment;
use shared::database::{Database, DatabaseError, DatabaseSource};
use shared::failure::chain;

/// A certificate authority that issues certificates for `localhost`.
struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).unwrap().pem();
        Self { certificate, issuer: Issuer::new(parameters, key) }
    }

    fn issue(&self, parameters: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, private_key: key.serialize_pem() }
    }
}

fn localhost() -> CertificateParams {
    CertificateParams::new(vec!["localhost".to_owned()]).unwrap()
}

/// A server, and a folder with the authority's certificate for `sslrootcert`.
struct Server {
    postgres: InstalledPostgres,
    folder: tempfile::TempDir,
}

impl Server {
    async fn start(programs: &Path, identity: Option<&Identity>, authority: &Authority) -> Self {
        let postgres = InstalledPostgres::start(programs.to_owned(), identity).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), &authority.certificate).unwrap();
        Self { postgres, folder }
    }

    fn password(&self) -> String {
        let config: tokio_postgres::Config = self.postgres.admin_url().parse().unwrap();
        String::from_utf8(config.get_password().unwrap().to_vec()).unwrap()
    }

    /// Connects as a function with this host and these parameters in its `DATABASE_URL`, where
    /// `{ca}` stands for the authority's file. Returns whether the server reports an encrypted
    /// connection.
    async fn connect(&self, host: &str, parameters: &str) -> Result<bool, DatabaseError> {
        let ca = self.folder.path().join("ca.pem");
        let (address, _) = self.postgres.admin_url().split_once('?').unwrap();
        let address = address.replace("@127.0.0.1:", &format!("@{host}:"));
        let url = format!("{address}?{}", parameters.replace("{ca}", ca.to_str().unwrap()));
        let environment = Environment::of([("DATABASE_URL", url)]);
        let source = DatabaseSource::from_environment(&environment).expect("a configuration");
        let client = Database::new(source, None).connection().await?;
        let sql = "SELECT s.ssl FROM pg_stat_ssl AS s WHERE s.pid = pg_backend_pid()";
        Ok(client.query_one(sql, &[]).await.map_err(DatabaseError::Statement)?.get(0))
    }

    /// Checks that [`Server::connect`] fails for this reason, with an error that contains no
    /// password.
    async fn check_rejected(&self, host: &str, parameters: &str, reason: &str) {
        let error = self.connect(host, parameters).await.expect_err(parameters);
        let text = format!("{} {error:?}", chain(&error));
        assert!(text.contains(reason), "{host} {parameters}: {text}");
        assert!(!text.contains(&self.password()), "{text}");
    }
}

/// Runs a test with the programs of Debian's PostgreSQL. Without them it prints that nothing was
/// checked; in CI it fails.
fn with_debians_postgresql(test: impl AsyncFnOnce(&Path)) {
    let Some(programs) = InstalledPostgres::programs() else {
        assert!(std::env::var_os("CI").is_none(), ".ci/run installs Debian's PostgreSQL");
        // Not `println!`: the test harness hides its output.
        let note =
            b"NOT CHECKED: TLS to PostgreSQL, because Debian's package postgresql is missing\n";
        std::io::stderr().write_all(note).unwrap();
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test(&programs));
}

#[test]
fn tls_connects_to_a_server_with_a_trusted_certificate() {
    with_debians_postgresql(async |programs| {
        let authority = Authority::new();
        let identity = authority.issue(&localhost());
        let server = Server::start(programs, Some(&identity), &authority).await;
        for mode in ["sslmode=require&", "sslmode=verify-ca&", "sslmode=verify-full&", ""] {
            let parameters = format!("{mode}sslrootcert={{ca}}");
            assert!(server.connect("localhost", &parameters).await.unwrap(), "{parameters}");
        }
        assert!(!server.connect("localhost", "sslmode=disable").await.unwrap(), "as configured");
    });
}

#[test]
fn a_wrong_name_or_an_unknown_authority_is_rejected() {
    with_debians_postgresql(async |programs| {
        let authority = Authority::new();
        let identity = authority.issue(&localhost());
        let server = Server::start(programs, Some(&identity), &authority).await;
        for mode in ["require", "verify-ca", "verify-full", "prefer"] {
            let trusted = format!("sslmode={mode}&sslrootcert={{ca}}");
            server.check_rejected("127.0.0.1", &trusted, "NotValidForName").await;
            // Without `sslrootcert`, the roots of RDS and the public roots are trusted.
            server.check_rejected("localhost", &format!("sslmode={mode}"), "UnknownIssuer").await;
        }
        let other = Authority::new();
        let untrusted = Server::start(programs, Some(&other.issue(&localhost())), &authority).await;
        let parameters = "sslmode=require&sslrootcert={ca}";
        // Both authorities have the same name, so only the signature does not match.
        untrusted.check_rejected("localhost", parameters, "invalid peer certificate").await;
    });
}

#[test]
fn a_self_signed_or_expired_certificate_is_rejected() {
    with_debians_postgresql(async |programs| {
        let authority = Authority::new();
        let key = KeyPair::generate().unwrap();
        let certificate = localhost().self_signed(&key).unwrap().pem();
        let identity = Identity { certificate, private_key: key.serialize_pem() };
        let server = Server::start(programs, Some(&identity), &authority).await;
        for parameters in ["sslmode=require&sslrootcert={ca}", "sslmode=require"] {
            server.check_rejected("localhost", parameters, "invalid peer certificate").await;
        }

        let mut expired = localhost();
        expired.not_before = date_time_ymd(2020, 1, 1);
        expired.not_after = date_time_ymd(2021, 1, 1);
        let server = Server::start(programs, Some(&authority.issue(&expired)), &authority).await;
        server.check_rejected("localhost", "sslmode=require&sslrootcert={ca}", "Expired").await;
    });
}

#[test]
fn a_server_without_tls_is_rejected_if_tls_is_required() {
    with_debians_postgresql(async |programs| {
        let authority = Authority::new();
        let server = Server::start(programs, None, &authority).await;
        for mode in ["require", "verify-ca", "verify-full"] {
            let parameters = format!("sslmode={mode}&sslrootcert={{ca}}");
            server.check_rejected("localhost", &parameters, "server does not support TLS").await;
        }
        assert!(!server.connect("localhost", "sslmode=prefer").await.unwrap(), "as configured");
    });
}
