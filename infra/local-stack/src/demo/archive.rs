//! The archive, as Python's `zipfile` reads it.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use local_stack::{LocalStack, Workspace};
use serde::Deserialize;
use tokio::process::Command;

use crate::console::Console;

/// The entries in their order, with their content.
#[derive(Debug)]
pub(crate) struct Archive {
    entries: Vec<(Entry, Vec<u8>)>,
    size: usize,
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
        let folder = tempfile::tempdir_in(stack.scratch_directory())
            .context("failed to create a directory for the archive")?;
        let path = folder.path().join("archive.zip");
        fs::write(&path, zip).context("failed to write the archive")?;
        let script = Workspace::find()?.root().join("infra/local-stack/read_zip.py");
        let mut python = Command::new(stack.python());
        let output = python.arg("-I").arg(script).arg(&path).arg(folder.path()).output().await?;
        ensure!(
            output.status.success(),
            "Python failed to read the archive:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let entries: Vec<Entry> = serde_json::from_slice(&output.stdout)?;
        let content = |number: usize| fs::read(folder.path().join(number.to_string()));
        let entries = entries.into_iter().enumerate();
        let entries = entries.map(|(number, entry)| Ok((entry, content(number)?)));
        Ok(Self { entries: entries.collect::<Result<_>>()?, size: zip.len() })
    }

    /// Returns the names in their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(entry, _)| entry.name.as_str())
    }

    /// Returns the content of the entry with this name.
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
