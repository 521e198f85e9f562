//! The programs in `peers/`, built on demand in their own workspace.

use std::{fmt, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use bdr_bench::round::Round;
use local_stack::Workspace;
use tokio::process::Command;

use crate::{bench::Bench, limits::Limits, workload::Seeded};

/// The built programs.
pub(crate) struct Peers {
    source: PathBuf,
    programs: PathBuf,
}

/// A program that does the same job as the function, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// This number of concurrent GETs, and the upload.
    Floor(usize),
    /// s-zip with the AWS SDK.
    SZip,
    /// archiver with the AWS SDK, on Node.
    Archiver,
}

impl Peers {
    /// Builds the programs. The first build takes minutes.
    pub(crate) async fn build() -> Result<Self> {
        let workspace = Workspace::find()?;
        let source = workspace.root().join("tests/bench/peers");
        let target = workspace.target().join("bench-peers");
        eprintln!("  … building the peers");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--release", "--locked", "--quiet", "--target-dir"]).arg(&target);
        run("build the peers", cargo.arg("--manifest-path").arg(source.join("Cargo.toml"))).await?;
        Ok(Self { source, programs: target.join("release") })
    }

    /// Returns the path of a program.
    pub(crate) fn program(&self, name: &str) -> String {
        self.programs.join(name).display().to_string()
    }

    /// Installs the packages of the peer on Node. Returns `false` if there is no Node.
    pub(crate) async fn install_node(&self) -> Result<bool> {
        let version = Command::new("node").arg("--version").output().await;
        if !version.is_ok_and(|output| output.status.success()) {
            return Ok(false);
        }
        let directory = self.programs.join("node");
        std::fs::create_dir_all(&directory)?;
        for name in ["package.json", "package-lock.json", "archiver.mjs"] {
            std::fs::copy(self.source.join("node").join(name), directory.join(name))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(directory);
        run("install the peer on Node", &mut npm).await?;
        Ok(true)
    }
}

impl Bench {
    /// Runs a peer with the same job, with the limits of Lambda at `lambda_mb`, or without limits.
    pub(crate) async fn run_peer(
        &self,
        peer: Peer,
        seeded: &Seeded,
        lambda_mb: Option<u64>,
    ) -> Result<Round> {
        self.s3.reset(false).await?;
        let limits = lambda_mb.map(Limits::of_lambda).transpose()?;
        let mut line = limits.as_ref().map(Limits::launcher).unwrap_or_default();
        let mut job = seeded.job.clone();
        match peer {
            Peer::Floor(concurrency) => {
                job.concurrency = concurrency;
                line.push(self.peers.program("floor"));
            }
            Peer::SZip => line.push(self.peers.program("s-zip")),
            Peer::Archiver => line.extend(["node".into(), self.peers.program("node/archiver.mjs")]),
        }
        let file = self.scratch.join("job.json");
        std::fs::write(&file, serde_json::to_vec(&job)?)?;
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).arg(file);
        if let Some(root) = &self.s3.root {
            command.env("SSL_CERT_FILE", root).env("NODE_EXTRA_CA_CERTS", root);
        }
        let output = run(&format!("run {peer}"), &mut command).await?;
        serde_json::from_slice(&output)
            .with_context(|| format!("failed to parse the result of {peer}"))
    }
}

/// Runs a command and returns its output.
async fn run(action: &str, command: &mut Command) -> Result<Vec<u8>> {
    let output = command.kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("failed to {action}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "failed to {action} ({}): {errors}", output.status);
    Ok(output.stdout)
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
