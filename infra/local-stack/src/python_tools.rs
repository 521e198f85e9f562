//! The virtual environment with MiniStack, PostgreSQL's programs and the AWS command line.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use tokio::task::spawn_blocking;

use crate::{
    options::{Reporter, Step},
    supervisor::{self, Supervisor},
};

/// A virtual environment in which everything in `requirements.txt` is installed.
#[derive(Debug, Clone)]
pub(crate) struct PythonTools {
    path: PathBuf,
}

impl PythonTools {
    /// Finds the environment for the present `requirements.txt`, or creates it.
    ///
    /// Its file `complete` is written last, so an installation that was killed is never used. A
    /// lock on a file makes a second process wait for the first.
    pub(crate) async fn prepare(supervisor: &Supervisor, reporter: &Reporter) -> Result<Self> {
        let requirements = supervisor.workspace.own_file("requirements.txt");
        let scratch = supervisor.workspace.scratch();
        let tools = Self { path: scratch.join(name(&requirements, &scratch)?) };
        if tools.is_complete() {
            return Ok(tools);
        }

        let path = tools.path.display();
        fs::create_dir_all(&scratch)
            .with_context(|| format!("failed to create {}", scratch.display()))?;
        let _lock = lock(tools.path.with_extension("lock"), reporter).await?;
        if !tools.is_complete() {
            if tools.path.exists() {
                fs::remove_dir_all(&tools.path)
                    .with_context(|| format!("failed to remove the incomplete {path}"))?;
            }
            tools.install(supervisor, &requirements, reporter).await?;
            File::create(tools.completion())
                .with_context(|| format!("failed to complete {path}"))?;
        }
        Ok(tools)
    }

    fn completion(&self) -> PathBuf {
        self.path.join("complete")
    }

    fn is_complete(&self) -> bool {
        // `bin/python` links to the Python that created the environment, which an update of the
        // system may have removed.
        self.completion().exists() && self.python().exists()
    }

    async fn install(
        &self,
        supervisor: &Supervisor,
        requirements: &Path,
        reporter: &Reporter,
    ) -> Result<()> {
        let mut venv = supervisor.command(&supervisor.python);
        venv.args(["-I", "-m", "venv"]).arg(&self.path);
        supervisor::succeed("`python3 -m venv`", venv).await?;

        let mut pip = supervisor.command(self.python());
        pip.args([
            "-I",
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-input",
            "--quiet",
        ])
        // Nothing that is not listed with its hash: the list is complete.
        .args(["--no-deps", "--require-hashes", "--requirement"])
        .arg(requirements);
        let output = supervisor::output(pip, |line| reporter.note(Step::PythonTools, line)).await?;
        ensure!(
            output.status.success(),
            "failed to install the Python tools, on which the local stack runs. The output of pip:\n{}\n\
             If the package index was unreachable, check the network (and PIP_INDEX_URL, if you use a \
             mirror). Then run the same command again.",
            output.stderr.trim_end()
        );
        Ok(())
    }

    /// Returns the Python of the environment.
    pub(crate) fn python(&self) -> PathBuf {
        self.path.join("bin/python")
    }

    /// Returns the AWS command line.
    pub(crate) fn aws(&self) -> PathBuf {
        self.path.join("bin/aws")
    }

    /// Returns the directory of the packages.
    pub(crate) fn packages(&self) -> Result<PathBuf> {
        let library = self.path.join("lib");
        let pythons = fs::read_dir(&library).into_iter().flatten().flatten();
        let mut packages = pythons.map(|python| python.path().join("site-packages"));
        packages.find(|packages| packages.is_dir()).with_context(|| {
            let path = self.path.display();
            format!("{} holds no packages. To install them again, delete {path}", library.display())
        })
    }
}

/// Returns a name that depends on the content and on the place: the scripts in the environment name
/// their Python by its path.
fn name(requirements: &Path, scratch: &Path) -> Result<String> {
    let content = fs::read(requirements)
        .with_context(|| format!("failed to read {}", requirements.display()))?;
    let mut hasher = DefaultHasher::new();
    (content, scratch).hash(&mut hasher);
    Ok(format!("python-{:016x}", hasher.finish()))
}

async fn lock(path: PathBuf, reporter: &Reporter) -> Result<File> {
    let file =
        File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
    if file.try_lock().is_err() {
        reporter.note(Step::PythonTools, "waiting for the installation by another process");
        let waiting = file.try_clone()?;
        spawn_blocking(move || waiting.lock()).await??;
    }
    Ok(file)
}
