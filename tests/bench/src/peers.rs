//! The programs in `peers/`, built on demand in their own workspace.

use std::{fmt, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use local_stack::Workspace;
use tokio::process::Command;

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
    /// This number of concurrent GETs, and then the upload.
    Chain(usize),
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

/// Runs a command and returns its output.
pub(crate) async fn run(action: &str, command: &mut Command) -> Result<Vec<u8>> {
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
            Self::Chain(concurrency) => write!(f, "chain({concurrency})"),
            Self::SZip => write!(f, "s-zip"),
            Self::Archiver => write!(f, "archiver"),
        }
    }
}
