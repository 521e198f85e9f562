//! The archive, read by Python's `zipfile`.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use local_stack::{LocalStack, Workspace};
use serde::Deserialize;

use crate::console::Console;

/// The entries in their order.
#[derive(Debug)]
pub(crate) struct Archive {
    entries: Vec<(Entry, Vec<u8>)>,
    size: u64,
}

#[derive(Debug, Deserialize)]
struct Entry {
    name: String,
    size: u64,
    packed: u64,
    method: String,
}

impl Archive {
    pub(crate) async fn read(stack: &LocalStack, zip: &[u8]) -> Result<Self> {
        let unpacked = tempfile::tempdir_in(stack.scratch_directory())
            .context("the archive cannot be unpacked")?;
        let path = unpacked.path().join("archive.zip");
        fs::write(&path, zip).context("the archive cannot be unpacked")?;
        let script = Workspace::find()?.root().join("infra/local-stack/read_zip.py");
        let mut command = Command::new(stack.python());
        command.arg("-I").arg(script).arg(&path).arg(unpacked.path());
        let output = tokio::process::Command::from(command).output().await?;
        ensure!(
            output.status.success(),
            "Python cannot read the archive:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let entries: Vec<Entry> = serde_json::from_slice(&output.stdout)?;
        let entries = entries
            .into_iter()
            .enumerate()
            .map(|(number, entry)| Ok((entry, fs::read(unpacked.path().join(number.to_string()))?)))
            .collect::<Result<_>>()?;
        Ok(Self { entries, size: zip.len() as u64 })
    }

    /// The names in their order.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.entries.iter().map(|(entry, _)| entry.name.as_str()).collect()
    }

    /// What is in the entry of this name.
    pub(crate) fn content(&self, name: &str) -> Option<&[u8]> {
        let found = self.entries.iter().find(|(entry, _)| entry.name == name);
        found.map(|(_, content)| content.as_slice())
    }

    pub(crate) fn print(&self, console: &Console) {
        console.line(&format!("\n  {:>8} {:>8}  {:<8} name", "size", "in ZIP", "method"));
        for (Entry { name, size, packed, method }, _) in &self.entries {
            console.line(&format!("  {size:>8} {packed:>8}  {method:<8} {name}"));
        }
        let unpacked: u64 = self.entries.iter().map(|(entry, _)| entry.size).sum();
        let count = self.entries.len();
        console.line(&format!("  {unpacked:>8} {:>8}  bytes in {count} entries", self.size));
    }
}
