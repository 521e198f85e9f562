//! The checkout, and where cargo builds.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// The checkout of this crate, as cargo reports it.
#[derive(Debug, Clone, Deserialize)]
pub struct Workspace {
    #[serde(rename = "workspace_root")]
    root: PathBuf,
    #[serde(rename = "target_directory")]
    target: PathBuf,
}

impl Workspace {
    /// Asks cargo, which reads `CARGO_TARGET_DIR` and the configuration files.
    ///
    /// # Errors
    /// When cargo does not run or rejects the workspace.
    pub fn find() -> Result<Self> {
        let output = Command::new(cargo())
            .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .context("failed to run cargo. To install Rust, follow https://rustup.rs")?;
        ensure!(
            output.status.success(),
            "`cargo metadata` failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).context("unexpected output of `cargo metadata`")
    }

    /// Returns the directory of `template.yaml`.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns cargo's target directory.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Returns the directory for installed tools and running servers.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.target.join("local-stack")
    }

    /// Returns the path of a file of this crate that is not Rust.
    pub(crate) fn own_file(&self, name: &str) -> PathBuf {
        self.root.join("infra/local-stack").join(name)
    }
}

/// Returns the cargo that runs this process, or else the one on the path.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
