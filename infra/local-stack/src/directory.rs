//! Directories that live as long as the process that works in them, and are found again if that
//! process could not tidy up.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

const LOG: &str = "log";
const OUTSIDE: &str = "outside";

/// A new directory for one server.
///
/// Its file `log` is locked, and handed to the server as standard output: so the lock holds for as
/// long as any process of that server lives, and a directory whose log is not locked is a leftover
/// of one that was killed together with its supervisor.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    outside: Option<PathBuf>,
}

impl Directory {
    /// Makes `parent/name-…`, after having removed the leftovers in `parent`; returns it with the
    /// locked log.
    pub(crate) fn create(parent: &Path, name: &str) -> Result<(Self, File)> {
        let failed = || format!("no working directory could be made in {}", parent.display());
        fs::create_dir_all(parent).with_context(failed)?;
        // Held until the log is locked; without it another process could sweep a directory that
        // is just being made.
        let guard = File::create(parent.join(".lock")).with_context(failed)?;
        guard.lock().with_context(failed)?;
        sweep(parent);

        let path = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(parent)
            .with_context(failed)?
            .keep();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).with_context(failed)?;
        let log = OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(path.join(LOG))
            .with_context(failed)?;
        log.lock().with_context(failed)?;
        Ok((Self { path, outside: None }, log))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A second directory in the system's place for temporary files, for what cannot work inside
    /// the checkout; it goes when the first one goes.
    pub(crate) fn outside(&mut self) -> Result<&Path> {
        let outside = tempfile::Builder::new()
            .prefix("makapix-bdr-")
            .permissions(Permissions::from_mode(0o711))
            .tempdir()
            .and_then(|temporary| {
                symlink(temporary.path(), self.path.join(OUTSIDE))?;
                Ok(temporary.keep())
            })
            .context("no temporary directory could be made")?;
        Ok(self.outside.insert(outside))
    }

    /// What is to be removed when the server has ended.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.outside.as_deref().into_iter().chain([self.path.as_path()])
    }

    /// The server's log, for reading. It can be read even after the directory has been removed.
    pub(crate) fn open_log(&self) -> io::Result<File> {
        File::open(self.path.join(LOG))
    }
}

/// Removes every directory that nobody works in any more. What cannot be removed, because somebody
/// else's account made it, is left.
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
    fn a_directory_is_swept_once_its_log_is_closed_and_not_before() {
        let parent = tempfile::tempdir().unwrap();
        let (mut first, first_log) = Directory::create(parent.path(), "server").unwrap();
        let outside = first.outside().unwrap().to_owned();

        let (second, _second_log) = Directory::create(parent.path(), "server").unwrap();
        assert!(first.path().exists() && outside.exists());

        drop(first_log);
        let (_third, _third_log) = Directory::create(parent.path(), "server").unwrap();
        assert!(!first.path().exists() && !outside.exists());
        assert!(second.path().exists());
    }
}
