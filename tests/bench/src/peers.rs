//! The programs of `peers/`: built when they are needed, in a workspace of their own.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use bdr_bench_jobs::{manifest::Manifest, rounds::Round};
use local_stack::Workspace;
use tokio::process::Command;

use crate::{limits::Limits, s3::S3Server};

/// The built programs.
#[derive(Debug)]
pub(crate) struct Peers {
    programs: PathBuf,
}

/// Something that does the function's job, or what there is to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// So many GETs at once beside the upload.
    Floor(u32),
    /// s-zip with the AWS SDK.
    SZip,
    /// archiver with the AWS SDK, on Node.
    Archiver,
}

/// What the peer on Node consists of.
const NODE: [(&str, &str); 3] = [
    ("package.json", include_str!("../peers/node/package.json")),
    ("package-lock.json", include_str!("../peers/node/package-lock.json")),
    ("archiver.mjs", include_str!("../peers/node/archiver.mjs")),
];

/// Builds them, which takes minutes the first time.
pub(crate) async fn build() -> Result<Peers> {
    let workspace = Workspace::find()?;
    let target = workspace.target().join("bench-peers");
    eprintln!("  … building the benchmark's peers");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--locked", "--quiet", "--manifest-path"])
        .arg(workspace.root().join("tests/bench/peers/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status()
        .await
        .context("cargo cannot be run")?;
    ensure!(status.success(), "the peers cannot be built");
    Ok(Peers { programs: target.join("release") })
}

impl Peers {
    pub(crate) fn s3_server(&self) -> PathBuf {
        self.programs.join("s3-server")
    }

    /// Installs what the peer on Node needs, if there is Node.
    pub(crate) async fn install_node(&self) -> Result<bool> {
        let is_there = Command::new("node").arg("--version").output().await;
        if !is_there.is_ok_and(|output| output.status.success()) {
            return Ok(false);
        }
        std::fs::create_dir_all(self.node())?;
        for (name, text) in NODE {
            std::fs::write(self.node().join(name), text)?;
        }
        let install = ["ci", "--no-audit", "--no-fund", "--silent"];
        let installed = Command::new("npm").args(install).current_dir(self.node()).status().await?;
        ensure!(installed.success(), "npm cannot install what the peer on Node needs");
        Ok(true)
    }

    fn node(&self) -> PathBuf {
        self.programs.join("node")
    }

    /// Has a peer do the job, within limits if there are any.
    pub(crate) async fn run(
        &self,
        peer: Peer,
        manifest: &Manifest,
        s3: &S3Server,
        scratch: &Path,
        limits: Option<&Limits>,
    ) -> Result<Round> {
        let path = scratch.join("manifest.json");
        std::fs::write(&path, serde_json::to_vec(manifest)?)?;
        let mut line = limits.map(Limits::launcher).unwrap_or_default();
        let program = |name: &str| self.programs.join(name).display().to_string();
        match peer {
            Peer::Floor(concurrency) => {
                line.extend([program("floor"), format!("--concurrency={concurrency}")]);
            }
            Peer::SZip => line.push(program("s-zip")),
            Peer::Archiver => line.extend(["node".to_owned(), program("node/archiver.mjs")]),
        }
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).arg(&path).args(["--endpoint", s3.endpoint()]).kill_on_drop(true);
        if let Some(root) = &s3.root {
            command.env("SSL_CERT_FILE", root).env("NODE_EXTRA_CA_CERTS", root);
        }
        let output = command.output().await?;
        ensure!(
            output.status.success(),
            "{peer:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).with_context(|| format!("{peer:?} says nothing"))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Floor(concurrency) => write!(f, "floor({concurrency})"),
            Self::SZip => write!(f, "s-zip"),
            Self::Archiver => write!(f, "archiver"),
        }
    }
}
