//! Working directories of servers, which the next start removes if their process could not.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read as _, Seek as _},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

const LOG: &str = "log";
const OUTSIDE: &str = "outside";

/// A new directory for one server.
///
/// Its file `log` is locked and is the server's standard output. The lock holds as long as any
/// process of that server lives, so a directory whose log is not locked is a leftover of a server
/// that was killed together with its supervisor.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    outside: Option<PathBuf>,
    log: File,
}

impl Directory {
    /// Removes the leftovers in `parent`, and creates `parent/name-…`.
    pub(crate) fn create(parent: &Path, name: &str) -> Result<Self> {
        let create = || {
            fs::create_dir_all(parent)?;
            // Held until the log is locked: without it another process could sweep a directory
            // that is not complete.
            let guard = File::create(parent.join(".lock"))?;
            guard.lock()?;
            sweep(parent);

            let path = tempfile::Builder::new()
                .prefix(&format!("{name}-"))
                .permissions(Permissions::from_mode(0o755))
                .tempdir_in(parent)?
                .keep();
            let log = path.join(LOG);
            let log = OpenOptions::new().create_new(true).read(true).append(true).open(log)?;
            log.lock()?;
            io::Result::Ok(Self { path, outside: None, log })
        };
        create().with_context(|| format!("failed to create a directory in {}", parent.display()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a second directory in the system's directory for temporary files, for what cannot
    /// run inside the checkout. It is removed together with the first one.
    pub(crate) fn outside(&mut self) -> Result<&Path> {
        let outside = tempfile::Builder::new()
            .prefix("makapix-bdr-")
            .permissions(Permissions::from_mode(0o711))
            .tempdir()
            .and_then(|temporary| {
                symlink(temporary.path(), self.path.join(OUTSIDE))?;
                Ok(temporary.keep())
            })
            .context("failed to create a temporary directory")?;
        Ok(self.outside.insert(outside))
    }

    /// Returns the directories to remove when the server has ended.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.outside.as_deref().into_iter().chain([self.path.as_path()])
    }

    /// Returns a handle for the server's output.
    pub(crate) fn output(&self) -> io::Result<File> {
        self.log.try_clone()
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// Returns the last lines of the log, also after the directory was removed.
    pub(crate) fn log_tail(&self) -> String {
        const LINES: usize = 15;
        let (mut log, mut bytes) = (&self.log, Vec::new());
        // The position is the server's as well, which does not matter: it appends.
        if log.rewind().and_then(|()| log.read_to_end(&mut bytes)).is_err() {
            return "(failed to read the log)".to_owned();
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

/// Removes every directory that is not in use. One that another user created stays if it cannot be
/// removed.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !in_use(&path) {
            if let Ok(outside) = fs::read_link(path.join(OUTSIDE)) {
                let _ = fs::remove_dir_all(outside);
            }
            let _ = fs::remove_dir_all(path);
        }
    }
}

fn in_use(directory: &Path) -> bool {
    match File::open(directory.join(LOG)) {
        Ok(log) => log.try_lock().is_err(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_swept_only_after_its_log_is_closed() {
        let parent = tempfile::tempdir().unwrap();
        let mut first = Directory::create(parent.path(), "server").unwrap();
        let (path, outside) = (first.path().to_owned(), first.outside().unwrap().to_owned());

        let second = Directory::create(parent.path(), "server").unwrap();
        assert!(path.exists() && outside.exists());

        drop(first);
        let _third = Directory::create(parent.path(), "server").unwrap();
        assert!(!path.exists() && !outside.exists());
        assert!(second.path().exists());
    }
}
