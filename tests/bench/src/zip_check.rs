//! A look into a ZIP.

use std::io::{Cursor, Read as _};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde_json::Value;
use zip::ZipArchive;

use crate::workload::NamedArtwork;

/// What the function adds to the artworks.
const DOCUMENTS: [&str; 3] = ["metadata.json", "comments.json", "reactions.json"];

/// Fails unless the ZIP holds exactly these artworks, whole and in this order, and the documents.
pub(crate) fn check(zip: &Bytes, artworks: &[NamedArtwork]) -> Result<()> {
    let mut zip = ZipArchive::new(Cursor::new(zip)).context("this is no ZIP")?;
    let found: Vec<_> =
        zip.file_names().collect::<Result<_, _>>().context("a name in the ZIP cannot be read")?;
    let names = artworks.iter().map(|artwork| artwork.name.as_str()).chain(DOCUMENTS);
    let names: Vec<_> = names.collect();
    ensure!(found == names, "the ZIP holds {found:?} instead of {names:?}");

    let mut read = |name: &str| {
        let mut content = Vec::new();
        zip.by_name(name)?.read_to_end(&mut content)?;
        anyhow::Ok(content)
    };
    for NamedArtwork { name, artwork } in artworks {
        let content = read(name).with_context(|| format!("{name} cannot be read"))?;
        ensure!(artwork.chunks().flatten().eq(content), "{name} is not the artwork");
    }
    for name in DOCUMENTS {
        let content = read(name).with_context(|| format!("{name} cannot be read"))?;
        serde_json::from_slice::<Value>(&content).with_context(|| format!("{name} is no JSON"))?;
    }
    Ok(())
}
