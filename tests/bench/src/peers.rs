//! The programs of `peers/`: built when they are needed, in a workspace of their own.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use bdr_bench_jobs::{manifest::Manifest, rounds::Round};
use local_stack::Workspace;
use tokio::process::Command;

use crate::s3::S3Server;

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
}

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

    /// Has a peer do the job.
    pub(crate) async fn run(
        &self,
        peer: Peer,
        manifest: &Manifest,
        s3: &S3Server,
        scratch: &Path,
    ) -> Result<Round> {
        let path = scratch.join("manifest.json");
        std::fs::write(&path, serde_json::to_vec(manifest)?)?;
        let mut command = match peer {
            Peer::Floor(concurrency) => {
                let mut command = Command::new(self.programs.join("floor"));
                command.args(["--concurrency", &concurrency.to_string()]);
                command
            }
            Peer::SZip => Command::new(self.programs.join("s-zip")),
        };
        command.arg(&path).args(["--endpoint", s3.endpoint()]).kill_on_drop(true);
        if let Some(root) = &s3.root {
            command.env("SSL_CERT_FILE", root);
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
        }
    }
}
