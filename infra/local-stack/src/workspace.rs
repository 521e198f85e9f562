//! Where the checkout is, and where cargo builds.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// The checkout this crate belongs to, as cargo sees it.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Asks cargo, which knows what `CARGO_TARGET_DIR` and the configuration files say.
    ///
    /// # Errors
    /// When cargo cannot be run or does not understand the workspace.
    pub fn find() -> Result<Self> {
        #[derive(Deserialize)]
        struct Metadata {
            workspace_root: PathBuf,
            target_directory: PathBuf,
        }

        let output = Command::new(cargo())
            .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .context("cargo cannot be run. Install Rust from https://rustup.rs")?;
        ensure!(
            output.status.success(),
            "cargo does not understand the workspace:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: Metadata = serde_json::from_slice(&output.stdout)
            .context("`cargo metadata` answered something else than its documentation says")?;
        Ok(Self { root: metadata.workspace_root, target: metadata.target_directory })
    }

    /// The directory of `template.yaml`.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target directory.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Where the local stack keeps what it installs and what it runs on.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.target.join("local-stack")
    }

    /// A file of this crate that is not Rust.
    pub(crate) fn own_file(&self, name: &str) -> PathBuf {
        self.root.join("infra/local-stack").join(name)
    }
}

/// The cargo that runs us, or else the one on the path.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
