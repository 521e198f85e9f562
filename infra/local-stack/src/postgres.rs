//! A PostgreSQL of our own, with the tables of `infra/sql`.

pub(crate) mod installed;
mod place;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio_postgres::{Client, NoTls};

use crate::{
    directory::Directory,
    python_tools::PythonTools,
    stack::{free_port, secret},
    supervisor::{Ending, Server, Supervisor},
    waiting::wait_until,
    workspace::Workspace,
};
use place::{Place, Programs};

/// The role that `infra/sql/role.sql` makes for the functions.
const FUNCTIONS_ROLE: &str = "makapix_bdr";

/// What makes the database of `infra/sql`; the rest there is for databases that have data.
const SCRIPTS: [&str; 2] = ["schema.sql", "role.sql"];

const START_PATIENCE: Duration = Duration::from_mins(1);

/// Makes the cluster and becomes the server. $0 is the directory of the binaries, $1 that of the
/// data, $2 the port; further arguments are for the server. Nothing written here need survive a power cut, which saves most of the time.
/// Without `dynamic_shared_memory_type=mmap` a server that is killed leaves files in /dev/shm.
const SCRIPT: &str = r#"
printf '%s\n' "$PGPASSWORD" | "$0/initdb" --pgdata="$1" --username=postgres --pwfile=/dev/stdin \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C --no-sync --no-instructions &&
data=$1 port=$2 && shift 2 &&
exec "$0/postgres" -D "$data" -c listen_addresses=127.0.0.1 -c port="$port" \
    -c unix_socket_directories= -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
    -c max_connections=200 -c dynamic_shared_memory_type=mmap -c timezone=UTC \
    -c log_timezone=UTC "$@"
"#;

/// The running server.
#[derive(Debug)]
pub(crate) struct Postgres {
    server: Server,
    port: u16,
    admin_url: String,
    functions_url: String,
    psql: PathBuf,
}

impl Postgres {
    /// Starts the server and makes the tables and the functions' role.
    pub(crate) async fn start(
        workspace: &Workspace,
        supervisor: &Supervisor,
        tools: &PythonTools,
    ) -> Result<Self> {
        let programs = Programs::Embedded(tools.packages()?);
        let mut postgres =
            start_server(workspace, supervisor, &programs, |_| Ok(Vec::new())).await?;
        let admin = connect(&postgres.admin_url).await?;
        for name in SCRIPTS {
            let script = workspace.root().join("infra/sql").join(name);
            let sql = fs::read_to_string(&script)
                .with_context(|| format!("{} cannot be read", script.display()))?;
            admin
                .batch_execute(&sql)
                .await
                .with_context(|| format!("{} cannot be applied", script.display()))?;
        }
        let password = open_functions_role(&admin).await?;
        postgres.functions_url = url(FUNCTIONS_ROLE, &password, postgres.port);
        Ok(postgres)
    }

    /// As the functions connect: with the rights of `infra/sql/role.sql`.
    pub(crate) fn functions_url(&self) -> &str {
        &self.functions_url
    }

    /// As the API connects, which owns the tables.
    pub(crate) fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// PostgreSQL's command line.
    pub(crate) fn psql(&self) -> &Path {
        &self.psql
    }

    pub(crate) fn check_alive(&mut self) -> Result<()> {
        self.server.check_alive().map_err(|error| self.server.explain(error))
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.server.stop().await
    }
}

/// Connects, and has the connection served by the runtime we are on.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.context("PostgreSQL cannot be reached")?;
    // Its error is also the error of whatever statement was waiting.
    tokio::spawn(connection);
    Ok(client)
}

/// `configure` gives the server's settings, as `name=value`, once it is known where it runs.
async fn start_server(
    workspace: &Workspace,
    supervisor: &Supervisor,
    programs: &Programs,
    configure: impl Fn(&Place) -> Result<Vec<String>>,
) -> Result<Postgres> {
    const ATTEMPTS: usize = 3;
    let psql = programs.directory().join("psql");
    for attempt in 1..=ATTEMPTS {
        let (mut directory, log) = Directory::create(&workspace.scratch().join("run"), "postgres")?;
        let place = Place::choose(&mut directory, programs)?;
        let (port, password) = (free_port()?, secret());
        let ending = Ending {
            stop_signal: "SIGINT", // does not wait for clients
            patience: Duration::from_secs(10),
            orphan_signal: "SIGQUIT", // does not even wait for a checkpoint
            uid: place.uid,
        };
        let mut command = supervisor.server(&directory, &ending, "/bin/sh");
        command
            .args(["-c", SCRIPT])
            .args([&place.binaries, &place.data])
            .arg(port.to_string())
            .args(configure(&place)?.iter().flat_map(|setting| ["-c", setting]))
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("LC_ALL", "C"), ("PGPASSWORD", password.as_str())]);
        let mut server = Server::start("PostgreSQL", command, &directory, log)?;

        let admin_url = url("postgres", &password, port);
        let ready = wait_until("PostgreSQL's first answer", START_PATIENCE, async || {
            server.check_alive()?;
            Ok(connect(&admin_url).await.ok())
        })
        .await;
        match ready {
            Ok(_) => {
                let functions_url = admin_url.clone();
                return Ok(Postgres { server, port, admin_url, functions_url, psql });
            }
            // Somebody else took the port between our choice and its use.
            Err(_) if attempt < ATTEMPTS && server.log_tail().contains("already in use") => {}
            Err(error) => return Err(server.explain(error)),
        }
    }
    bail!("no free port was found for PostgreSQL")
}

fn url(role: &str, password: &str, port: u16) -> String {
    format!("postgresql://{role}:{password}@127.0.0.1:{port}/postgres?sslmode=disable")
}

/// Lets the functions' role log in, and returns its password.
async fn open_functions_role(admin: &Client) -> Result<String> {
    let password = secret();
    admin
        .batch_execute(&format!("ALTER ROLE {FUNCTIONS_ROLE} LOGIN PASSWORD '{password}'"))
        .await
        .context("the functions' role cannot be given a password")?;
    Ok(password)
}
