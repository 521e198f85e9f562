//! The comparison of a ZIP with its artworks.

use std::io::{Cursor, Read as _};

use anyhow::{Context as _, Result, ensure};
use bdr_bench::{artwork::Artwork, job::Entry};
use serde_json::Value;
use zip::ZipArchive;

/// The files that the function adds to the artworks.
const DOCUMENTS: [&str; 3] = ["metadata.json", "comments.json", "reactions.json"];

/// Compares a ZIP with its artworks.
///
/// # Errors
/// When the ZIP does not contain exactly the artworks, in order, and the documents.
pub(crate) fn check(zip: &[u8], entries: &[Entry]) -> Result<()> {
    let mut zip = ZipArchive::new(Cursor::new(zip)).context("failed to read the ZIP")?;
    let names = entries.iter().map(|entry| &*entry.name).chain(DOCUMENTS);
    let (found, expected) = (zip.len(), entries.len() + DOCUMENTS.len());
    ensure!(found == expected, "the ZIP has {found} entries instead of {expected}");
    for (index, name) in names.enumerate() {
        let mut file = zip.by_index(index)?;
        let found = file.name()?;
        ensure!(found == name, "entry {index} of the ZIP is {found} instead of {name}");
        let mut content = Vec::new();
        file.read_to_end(&mut content).with_context(|| format!("failed to read {name}"))?;
        let is_right = match entries.get(index).and_then(|entry| Artwork::from_key(&entry.key)) {
            Some(artwork) => artwork.chunks().flatten().eq(content),
            None => serde_json::from_slice::<Value>(&content).is_ok(),
        };
        ensure!(is_right, "{name} has the wrong content");
    }
    Ok(())
}
