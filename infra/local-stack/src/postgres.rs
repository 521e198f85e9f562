//! The stack's own PostgreSQL server, with the tables of `infra/sql`.

mod place;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::{
    directory::Directory,
    server::{Ending, Server},
    supervisor::Supervisor,
};
use place::Place;
pub(crate) use place::Programs;

/// Creates the cluster and becomes the server. $0 is the directory of the programs, $1 that of the
/// data, $2 the port; further arguments are for the server. Durability is off, which saves most of
/// the time. Without `dynamic_shared_memory_type=mmap` a killed server leaves files in /dev/shm.
const SCRIPT: &str = r#"
printf '%s\n' "$PGPASSWORD" | "$0/initdb" --pgdata="$1" --username=postgres --pwfile=/dev/stdin \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C --no-sync --no-instructions &&
data=$1 port=$2 && shift 2 &&
exec "$0/postgres" -D "$data" -c listen_addresses=127.0.0.1 -c port="$port" \
    -c unix_socket_directories= -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
    -c max_connections=200 -c dynamic_shared_memory_type=mmap -c timezone=UTC \
    -c log_timezone=UTC "$@"
"#;

/// The scripts for an empty database; the others in `infra/sql` are for databases with data.
const SCRIPTS: [&str; 2] = ["schema.sql", "adapters/specification.sql"];

/// The role that `infra/sql/adapters/specification.sql` creates for the functions.
const FUNCTIONS_ROLE: &str = "makapix_bdr";

/// A server's proof of its identity, in PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate, followed by intermediate certificates if there are any.
    pub certificate: String,
    /// The certificate's private key.
    pub private_key: String,
}

/// A running server on a new cluster.
#[derive(Debug)]
pub(crate) struct Postgres {
    pub(crate) server: Server,
    /// URL of the superuser.
    pub(crate) admin_url: String,
    /// PostgreSQL's command line.
    pub(crate) psql: PathBuf,
    port: u16,
}

impl Postgres {
    /// Starts the server on `port` (0: a free one), without tables. With an identity it offers TLS.
    pub(crate) async fn start(
        supervisor: &Supervisor,
        programs: &Programs,
        identity: Option<&Identity>,
        port: u16,
    ) -> Result<Self> {
        let password = secret();
        let start = |port| start_server(supervisor, programs, identity, &password, port);
        let is_ready = async |port| connect(&url("postgres", &password, port)).await.is_ok();
        let (server, port) = Server::start_on_port(port, start, is_ready).await?;
        let admin_url = url("postgres", &password, port);
        Ok(Self { server, admin_url, psql: programs.directory().join("psql"), port })
    }

    /// Creates the tables, and returns the URL of the functions' role.
    pub(crate) async fn create_tables(&self, supervisor: &Supervisor) -> Result<String> {
        let admin = connect(&self.admin_url).await?;
        for name in SCRIPTS {
            let script = supervisor.workspace.root().join("infra/sql").join(name);
            let sql = fs::read_to_string(&script)
                .with_context(|| format!("failed to read {}", script.display()))?;
            let applied = admin.batch_execute(&without_psql_commands(&sql)).await;
            applied.with_context(|| format!("failed to apply {}", script.display()))?;
        }
        let password = secret();
        let login = format!("ALTER ROLE {FUNCTIONS_ROLE} LOGIN PASSWORD '{password}'");
        let altered = admin.batch_execute(&login).await;
        altered.context("failed to set the password of the functions' role")?;
        Ok(url(FUNCTIONS_ROLE, &password, self.port))
    }
}

/// The system's own PostgreSQL, for TLS: the embedded one is built without it. It has no tables, and
/// ends when it is dropped.
#[derive(Debug)]
pub struct InstalledPostgres(Postgres);

impl InstalledPostgres {
    /// Returns the programs of the newest version that is installed from Debian's packages, if any.
    #[must_use]
    pub fn programs() -> Option<PathBuf> {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten().filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            programs.join("postgres").exists().then_some((version, programs))
        });
        versions.max().map(|(_, programs)| programs)
    }

    /// Starts the server of `programs`. With an identity it offers TLS, without one it does not.
    ///
    /// # Errors
    /// When the server does not start; the message says why.
    pub async fn start(programs: PathBuf, identity: Option<&Identity>) -> Result<Self> {
        let programs = Programs::Installed(programs);
        Ok(Self(Postgres::start(&Supervisor::find()?, &programs, identity, 0).await?))
    }

    /// Returns the URL of a superuser, by address and without TLS.
    #[must_use]
    pub fn admin_url(&self) -> &str {
        &self.0.admin_url
    }
}

/// Returns a script without the commands of psql, for execution by a driver. Leaves out what they execute
/// under a condition.
#[must_use]
pub fn without_psql_commands(script: &str) -> String {
    let mut is_conditional = false;
    let lines = script.split_inclusive('\n').filter(|line| {
        is_conditional |= line.starts_with("\\if");
        let is_left_out = is_conditional || line.starts_with('\\');
        is_conditional &= !line.starts_with("\\endif");
        !is_left_out
    });
    lines.collect()
}

/// Connects; the present runtime serves the connection.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let connected = tokio_postgres::connect(url, NoTls).await;
    let (client, connection) = connected.context("failed to connect to PostgreSQL")?;
    // Its error is also the error of every waiting statement.
    tokio::spawn(connection);
    Ok(client)
}

fn start_server(
    supervisor: &Supervisor,
    programs: &Programs,
    identity: Option<&Identity>,
    password: &str,
    port: u16,
) -> Result<Server> {
    let run = supervisor.workspace.scratch().join("run");
    let mut directory = Directory::create(&run, "postgres")?;
    let place = Place::choose(&mut directory, programs)?;
    let ending = Ending {
        stop_signal: "SIGINT", // does not wait for clients
        patience: Duration::from_secs(10),
        orphan_signal: "SIGQUIT", // does not even wait for a checkpoint
        uid: place.uid,
    };
    let mut command = ending.command(supervisor, &directory, "/bin/sh");
    command
        .args(["-c", SCRIPT])
        .args([&place.programs, &place.data])
        .arg(port.to_string())
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("LC_ALL", "C"), ("PGPASSWORD", password)]);
    if let Some(identity) = identity {
        let certificate = place.write("server.crt", &identity.certificate)?;
        let private_key = place.write("server.key", &identity.private_key)?;
        command.args(["-c", "ssl=on"]);
        command.arg("-c").arg(format!("ssl_cert_file={}", certificate.display()));
        command.arg("-c").arg(format!("ssl_key_file={}", private_key.display()));
    }
    Server::start("PostgreSQL", command, directory)
}

fn url(role: &str, password: &str, port: u16) -> String {
    format!("postgresql://{role}:{password}@127.0.0.1:{port}/postgres?sslmode=disable")
}

/// Returns a new password that needs no escaping anywhere.
fn secret() -> String {
    Uuid::new_v4().simple().to_string()
}
