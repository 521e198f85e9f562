//! The system's own PostgreSQL, for what the embedded one was built without: TLS.

use std::{fs, path::PathBuf};

use anyhow::Result;

use super::{Postgres, Programs, start_server};
use crate::{supervisor::Supervisor, workspace::Workspace};

/// Where Debian's packages put each version's programs: `{DEBIAN}/15/bin`.
const DEBIAN: &str = "/usr/lib/postgresql";

/// What a server shows to prove who it is, as PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its certificate, and those up to the authority's where there are any.
    pub certificate: String,
    /// The private key of its certificate.
    pub private_key: String,
}

/// A running server without the tables of `infra/sql`. It ends when it is dropped.
#[derive(Debug)]
pub struct InstalledPostgres(Postgres);

impl InstalledPostgres {
    /// The programs of the newest version that is installed from Debian's packages, if any is.
    #[must_use]
    pub fn programs() -> Option<PathBuf> {
        let versions = fs::read_dir(DEBIAN).ok()?.flatten();
        let version = |name: String| name.parse::<u32>().ok();
        versions
            .filter_map(|entry| {
                let programs = entry.path().join("bin");
                let version = version(entry.file_name().to_string_lossy().into_owned())?;
                programs.join("postgres").exists().then_some((version, programs))
            })
            .max()
            .map(|(_, programs)| programs)
    }

    /// Starts the `programs`; with an identity the server offers TLS, and without one it does not.
    ///
    /// # Errors
    /// When the server does not start; the message says why.
    pub async fn start(programs: PathBuf, identity: Option<&Identity>) -> Result<Self> {
        let workspace = Workspace::find()?;
        let supervisor = Supervisor::new(&workspace)?;
        let programs = Programs::Installed(programs);
        let server = start_server(&workspace, &supervisor, &programs, |place| {
            let Some(identity) = identity else { return Ok(vec!["ssl=off".to_owned()]) };
            let certificate = place.write("server.crt", &identity.certificate)?;
            let private_key = place.write("server.key", &identity.private_key)?;
            Ok(vec![
                "ssl=on".to_owned(),
                format!("ssl_cert_file={}", certificate.display()),
                format!("ssl_key_file={}", private_key.display()),
            ])
        });
        Ok(Self(server.await?))
    }

    /// The server as somebody with all rights reaches it, by its address and without TLS.
    #[must_use]
    pub fn admin_url(&self) -> &str {
        self.0.admin_url()
    }
}
