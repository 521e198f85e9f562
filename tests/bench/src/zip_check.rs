//! The comparison of a ZIP with its artworks.

use std::io::{Cursor, Read as _};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bdr_bench::{artwork::Artwork, job::Entry};
use serde_json::Value;
use zip::ZipArchive;

/// The files that the function adds to the artworks, each with the variables that leave it out.
const DOCUMENTS: [(&str, &[&str]); 5] = [
    ("metadata.json", &[]),
    ("comments.json", &[]),
    ("reactions.json", &[]),
    ("index.html", &["GALLERY_PAGE"]),
    ("SHA256SUMS", &["GALLERY_PAGE", "CHECKSUMS"]),
];

/// Compares a ZIP with its artworks. `variables` are those of the function that differ from the template's.
///
/// # Errors
/// When the ZIP does not contain exactly the artworks, in order, and the documents.
pub(crate) fn check(zip: &[u8], entries: &[Entry], variables: &[(String, String)]) -> Result<()> {
    let mut zip = ZipArchive::new(Cursor::new(zip)).context("failed to read the ZIP")?;
    let is_off = |name: &&str| variables.iter().any(|(set, value)| set == name && value == "false");
    let documents = DOCUMENTS.iter().filter(|(_, switches)| !switches.iter().any(&is_off));
    let documents: Vec<_> = documents.map(|(name, _)| *name).collect();
    let (found, expected) = (zip.len(), entries.len() + documents.len());
    let names = entries.iter().map(|entry| &*entry.name).chain(documents);
    ensure!(found == expected, "the ZIP has {found} entries instead of {expected}");
    for (index, name) in names.enumerate() {
        let mut file = zip.by_index(index)?;
        let found = file.name()?;
        ensure!(found == name, "entry {index} of the ZIP is {found} instead of {name}");
        let mut content = Vec::new();
        file.read_to_end(&mut content).with_context(|| format!("failed to read {name}"))?;
        let is_right = match entries.get(index).and_then(|entry| Artwork::from_key(&entry.key)) {
            Some(artwork) => artwork.chunks().flatten().eq(content),
            None if Path::new(name).extension().is_some_and(|extension| extension == "json") => {
                serde_json::from_slice::<Value>(&content).is_ok()
            }
            None => !content.is_empty(),
        };
        ensure!(is_right, "{name} has the wrong content");
    }
    Ok(())
}
