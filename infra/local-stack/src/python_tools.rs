//! The virtual environment with MiniStack, PostgreSQL's binaries and the AWS command line.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use tokio::task::spawn_blocking;

use crate::{
    options::{Reporter, Step},
    supervisor::{self, Supervisor},
    workspace::Workspace,
};

/// An environment in which everything of `requirements.txt` is installed.
#[derive(Debug, Clone)]
pub(crate) struct PythonTools {
    path: PathBuf,
}

impl PythonTools {
    /// Finds the environment for the present `requirements.txt`, or makes it.
    ///
    /// A link under a name of its own appears only once everything is installed; so one that was
    /// being made when its process was killed is never taken for ready. A lock on a file makes a
    /// second process wait for the first.
    pub(crate) async fn prepare(
        workspace: &Workspace,
        supervisor: &Supervisor,
        reporter: &Reporter,
    ) -> Result<Self> {
        let requirements = workspace.own_file("requirements.txt");
        let scratch = workspace.scratch();
        let name = name(&requirements, &scratch)?;
        let tools = Self { path: scratch.join(&name) };
        if tools.is_ready() {
            return Ok(tools);
        }

        fs::create_dir_all(&scratch)
            .with_context(|| format!("{} cannot be made", scratch.display()))?;
        let _lock = lock(scratch.join(format!("{name}.lock")), reporter).await?;
        if !tools.is_ready() {
            remove_unfinished(&scratch, &name)?;
            let new = tempfile::Builder::new()
                .prefix(&format!("{name}-"))
                .tempdir_in(&scratch)
                .context("no directory for the Python tools could be made")?
                .keep();
            install(supervisor, &requirements, &new, reporter).await?;
            symlink(&new, &tools.path).context("the Python tools cannot be put in place")?;
        }
        Ok(tools)
    }

    fn is_ready(&self) -> bool {
        // Follows both links: to the environment, and from there to the Python it was made with,
        // which an update of the system may have removed.
        self.python().exists()
    }

    /// The Python of the environment.
    pub(crate) fn python(&self) -> PathBuf {
        self.path.join("bin/python")
    }

    /// The AWS command line.
    pub(crate) fn aws(&self) -> PathBuf {
        self.path.join("bin/aws")
    }

    /// The directory that holds the packages.
    pub(crate) fn packages(&self) -> Result<PathBuf> {
        let library = self.path.join("lib");
        fs::read_dir(&library)
            .ok()
            .into_iter()
            .flatten()
            .flatten()
            .map(|python| python.path().join("site-packages"))
            .find(|packages| packages.is_dir())
            .with_context(|| {
                format!("{} holds no packages; delete {}", library.display(), self.path.display())
            })
    }
}

/// The environment depends on what it holds, and on where it is: its scripts name their Python.
fn name(requirements: &Path, scratch: &Path) -> Result<String> {
    let wanted = fs::read(requirements)
        .with_context(|| format!("{} cannot be read", requirements.display()))?;
    let mut hasher = DefaultHasher::new();
    (wanted, scratch).hash(&mut hasher);
    Ok(format!("venv-{:016x}", hasher.finish()))
}

async fn lock(path: PathBuf, reporter: &Reporter) -> Result<File> {
    let file = File::create(&path).with_context(|| format!("{} cannot be made", path.display()))?;
    if file.try_lock().is_err() {
        reporter.note(Step::PythonTools, "waiting for another process that installs them");
        let waiting = file.try_clone()?;
        spawn_blocking(move || waiting.lock()).await??;
    }
    Ok(file)
}

/// Removes what an earlier attempt has left. Only under the lock.
fn remove_unfinished(scratch: &Path, name: &str) -> Result<()> {
    let unfinished = |error: io::Error| {
        anyhow::Error::from(error).context(format!(
            "what is left of an unfinished installation in {} cannot be removed",
            scratch.display()
        ))
    };
    let prefix = format!("{name}-");
    for entry in fs::read_dir(scratch).map_err(unfinished)? {
        let entry = entry.map_err(unfinished)?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            fs::remove_dir_all(entry.path()).map_err(unfinished)?;
        }
    }
    match fs::remove_file(scratch.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unfinished(error)),
        _ => Ok(()),
    }
}

async fn install(
    supervisor: &Supervisor,
    requirements: &Path,
    directory: &Path,
    reporter: &Reporter,
) -> Result<()> {
    let mut venv = supervisor.command(supervisor.python());
    venv.args(["-m", "venv"]).arg(directory);
    // Either would have the new environment find packages that are not its own.
    venv.env_remove("PYTHONPATH").env_remove("PYTHONHOME");
    supervisor::succeed("making a Python environment", venv).await?;

    let mut pip = supervisor.command(directory.join("bin/python"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"])
        // Nothing beyond what is listed with its hash: the list is complete.
        .args(["--no-deps", "--require-hashes", "--requirement"])
        .arg(requirements)
        .env_remove("PYTHONPATH")
        .env_remove("PYTHONHOME");
    let output = supervisor::output(pip, |line| reporter.note(Step::PythonTools, line)).await?;
    ensure!(
        output.status.success(),
        "The Python tools cannot be installed, so there is nothing to run the local stack on. \
         pip says:\n{}\nIf it could not reach the package index, check the network (and PIP_INDEX_URL, \
         where you use a mirror), then run the same command again.",
        output.stderr.trim_end()
    );
    Ok(())
}
