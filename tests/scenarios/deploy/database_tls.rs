//! The functions' connection to a PostgreSQL that has a certificate: Debian's, since the local
//! stack's own was built without TLS.

use std::io::Write as _;
use std::path::Path;

use local_stack::{Identity, InstalledPostgres};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use shared::config::Environment;
use shared::database::{Database, DatabaseError, DatabaseSource};
use shared::failure::chain;

/// An authority, and the certificates it issues for 127.0.0.1's name `localhost`.
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

/// A server, and the authorities' certificates in files that a URL may name.
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

    /// Connects as a function does that has this host and these parameters in its `DATABASE_URL`,
    /// with `{ca}` for the file of the authority; returns whether the server says that the
    /// connection is encrypted.
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

    /// As [`Server::connect`]; expects a refusal for this reason, which quotes no password.
    async fn refused(&self, host: &str, parameters: &str, reason: &str) {
        let error = self.connect(host, parameters).await.expect_err(parameters);
        let told = format!("{} {error:?}", chain(&error));
        assert!(told.contains(reason), "{host} {parameters}: {told}");
        assert!(!told.contains(&self.password()), "{told}");
    }
}

/// Runs a test with the programs of Debian's PostgreSQL; where there is none, says that nothing was
/// checked, and in CI fails.
fn with_debians_postgresql(test: impl AsyncFnOnce(&Path)) {
    let Some(programs) = InstalledPostgres::programs() else {
        assert!(std::env::var_os("CI").is_none(), ".ci/run installs Debian's PostgreSQL");
        // Not `println!`, which the test harness swallows.
        let note = b"NOT CHECKED: TLS to PostgreSQL, for want of Debian's package postgresql\n";
        std::io::stderr().write_all(note).unwrap();
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test(&programs));
}

#[test]
fn a_server_of_a_trusted_authority_is_reached_by_its_name_and_encrypted() {
    with_debians_postgresql(async |programs| {
        let authority = Authority::new();
        let identity = authority.issue(&localhost());
        let server = Server::start(programs, Some(&identity), &authority).await;
        for mode in ["sslmode=require&", "sslmode=verify-ca&", "sslmode=verify-full&", ""] {
            let parameters = format!("{mode}sslrootcert={{ca}}");
            assert!(server.connect("localhost", &parameters).await.unwrap(), "{parameters}");
        }
        assert!(!server.connect("localhost", "sslmode=disable").await.unwrap(), "as was asked");
    });
}

#[test]
fn a_server_by_another_name_or_of_an_unknown_authority_is_refused() {
    with_debians_postgresql(async |programs| {
        let authority = Authority::new();
        let identity = authority.issue(&localhost());
        let server = Server::start(programs, Some(&identity), &authority).await;
        for mode in ["require", "verify-ca", "verify-full", "prefer"] {
            let trusted = format!("sslmode={mode}&sslrootcert={{ca}}");
            server.refused("127.0.0.1", &trusted, "NotValidForName").await;
            // Without an `sslrootcert` the roots of RDS and the public ones are trusted.
            server.refused("localhost", &format!("sslmode={mode}"), "UnknownIssuer").await;
        }
        let other = Authority::new();
        let stranger = Server::start(programs, Some(&other.issue(&localhost())), &authority).await;
        let parameters = "sslmode=require&sslrootcert={ca}";
        // Both authorities have the same name: the signature is what does not fit.
        stranger.refused("localhost", parameters, "invalid peer certificate").await;
    });
}

#[test]
fn a_self_signed_or_an_expired_certificate_is_refused() {
    with_debians_postgresql(async |programs| {
        let authority = Authority::new();
        let key = KeyPair::generate().unwrap();
        let certificate = localhost().self_signed(&key).unwrap().pem();
        let identity = Identity { certificate, private_key: key.serialize_pem() };
        let server = Server::start(programs, Some(&identity), &authority).await;
        for parameters in ["sslmode=require&sslrootcert={ca}", "sslmode=require"] {
            server.refused("localhost", parameters, "invalid peer certificate").await;
        }

        let mut expired = localhost();
        expired.not_before = date_time_ymd(2020, 1, 1);
        expired.not_after = date_time_ymd(2021, 1, 1);
        let server = Server::start(programs, Some(&authority.issue(&expired)), &authority).await;
        server.refused("localhost", "sslmode=require&sslrootcert={ca}", "Expired").await;
    });
}

#[test]
fn a_server_without_tls_is_refused_where_tls_is_required() {
    with_debians_postgresql(async |programs| {
        let authority = Authority::new();
        let server = Server::start(programs, None, &authority).await;
        for mode in ["require", "verify-ca", "verify-full"] {
            let parameters = format!("sslmode={mode}&sslrootcert={{ca}}");
            server.refused("localhost", &parameters, "server does not support TLS").await;
        }
        assert!(!server.connect("localhost", "sslmode=prefer").await.unwrap(), "as was asked");
    });
}
