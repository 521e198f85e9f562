//! The expected content of the archive, derived from the scene alone, and its comparison with the
//! content found.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Archive, Checks,
    checks::{take, time},
    scene::{Exhibit, REACTIONS, Scene, Source},
};

const DOCUMENTS: [&str; 6] =
    ["metadata.json", "MISSING.txt", "comments.json", "reactions.json", "index.html", "SHA256SUMS"];

pub(crate) fn check(scene: &Scene, archive: &Archive, checks: &mut Checks) -> Result<()> {
    let count = scene.available().count();
    checks.group(&format!("{count} artworks, each byte for byte what was put in"), |checks| {
        check_artworks(scene, archive, checks);
    });

    let [metadata, _, comments, reactions, ..] = DOCUMENTS;
    let [metadata, comments, reactions] =
        [metadata, comments, reactions].map(|name| document(archive, name));
    let (mut metadata, comments, reactions) = (metadata?, comments?, reactions?);
    checks.group("metadata.json describes them, and names the one that is missing", |checks| {
        check_reasons(&mut metadata, checks);
        check_checksums(&mut metadata, archive, checks);
        checks.same_json("metadata.json", &expected_metadata(scene), &metadata);
        let lines = archive.content("MISSING.txt").map(|text| text.split(|b| *b == b'\n').count());
        let missing = scene.posts.len() - count;
        // A heading, an empty line, and the end of the last line.
        checks.equal("the lines of MISSING.txt", Some(missing + 3), lines);
    });
    checks.group("comments.json, oldest first, without the hidden and the deleted", |checks| {
        checks.same_json("comments.json", &expected_comments(scene), &comments);
    });
    checks.group("reactions.json counts the reactions", |checks| {
        checks.same_json("reactions.json", &expected_reactions(scene), &reactions);
    });
    Ok(())
}

fn check_artworks(scene: &Scene, archive: &Archive, checks: &mut Checks) {
    let artworks = scene.available().map(|exhibit| format!("artworks/{}", filename(exhibit)));
    let names: Vec<String> = artworks.chain(DOCUMENTS.map(str::to_owned)).collect();
    let actual: Vec<&str> = archive.names().collect();
    checks.equal("the names in the archive", names.iter().map(String::as_str).collect(), actual);
    for (exhibit, name) in scene.available().zip(&names) {
        let content = archive.content(name);
        checks.holds(
            name,
            content == Some(exhibit.artwork.bytes.as_slice()),
            format!("the {} bytes that were put in", exhibit.artwork.bytes.len()),
            content.map(|bytes| format!("{} bytes, of which some differ", bytes.len())),
        );
    }
}

fn filename(exhibit: &Exhibit) -> String {
    format!("{}.{}", exhibit.sqid, exhibit.artwork.extension())
}

/// Reads a document of the archive, without the time at which it was generated, which is checked.
fn document(archive: &Archive, name: &str) -> Result<Value> {
    let content = archive.content(name).with_context(|| format!("the archive has no {name}"))?;
    let mut document =
        serde_json::from_slice(content).with_context(|| format!("{name} is not JSON"))?;
    let generated = take(&mut document, "generated_at");
    ensure!(time(&generated).is_some(), "generated_at of {name} is {generated}, which is no time");
    Ok(document)
}

fn timestamp(time: OffsetDateTime) -> Value {
    json!(time.format(&Rfc3339).unwrap_or_default())
}

/// Checks that each reason is present, and removes it: its words are the function's.
fn check_reasons(metadata: &mut Value, checks: &mut Checks) {
    for missing in metadata["missing_artworks"].as_array_mut().into_iter().flatten() {
        let reason = take(missing, "reason");
        checks.holds(
            "metadata.json /missing_artworks: reason",
            reason.as_str().is_some_and(|reason| !reason.is_empty()),
            "some words",
            reason,
        );
    }
}

/// Checks that `SHA256SUMS` begins with the checksum of each artwork, and removes it. The names of
/// artworks and their content are checked elsewhere.
fn check_checksums(metadata: &mut Value, archive: &Archive, checks: &mut Checks) {
    let mut expected = Vec::new();
    for artwork in metadata["artworks"].as_array_mut().into_iter().flatten() {
        let (sum, name) = (take(artwork, "sha256"), artwork["filename"].as_str());
        expected.push(format!(
            "{}  artworks/{}",
            sum.as_str().unwrap_or_default(),
            name.unwrap_or_default()
        ));
    }
    let sums = archive.content("SHA256SUMS").map(String::from_utf8_lossy).unwrap_or_default();
    let sums = sums.lines().take(expected.len()).map(str::to_owned).collect();
    checks.equal("the lines of SHA256SUMS", expected, sums);
}

fn expected_metadata(scene: &Scene) -> Value {
    let artwork = |exhibit: &Exhibit| {
        let post = &exhibit.post;
        json!({
            "sqid": exhibit.sqid,
            "filename": filename(exhibit),
            "title": post.title,
            "description": post.description,
            "created_at": timestamp(post.created_at),
            "width": post.width,
            "height": post.height,
            "frame_count": post.frame_count,
            "file_format": post.file_format,
            "hashtags": post.hashtags,
            "size_bytes": exhibit.artwork.bytes.len(),
        })
    };
    let missing = scene.posts.iter().filter(|it| it.source == Source::Missing);
    let missing =
        missing.map(|it| json!({"sqid": it.sqid, "title": it.post.title, "code": "not_found"}));
    json!({
        "user_handle": scene.artist.handle,
        "artwork_count": scene.available().count(),
        "artworks": scene.available().map(artwork).collect::<Vec<_>>(),
        "missing_artworks": missing.collect::<Vec<_>>(),
    })
}

fn expected_comments(scene: &Scene) -> Value {
    let mut remarks: Vec<_> = scene.comments.iter().collect();
    remarks.retain(|remark| !remark.comment.hidden_by_mod && !remark.comment.deleted_by_owner);
    remarks.sort_by_key(|remark| remark.comment.created_at);
    let mut by_artwork = BTreeMap::<&str, Vec<Value>>::new();
    for remark in remarks {
        by_artwork.entry(&scene.posts[remark.post].sqid).or_default().push(json!({
            "id": remark.id,
            "author_handle": remark.author,
            "body": remark.comment.body,
            "created_at": timestamp(remark.comment.created_at),
        }));
    }
    json!({ "comments_by_artwork": by_artwork })
}

fn expected_reactions(scene: &Scene) -> Value {
    let mut by_artwork = BTreeMap::<&str, BTreeMap<&str, i32>>::new();
    for (post, emoji, count) in REACTIONS {
        by_artwork.entry(&scene.posts[post].sqid).or_default().insert(emoji, count);
    }
    json!({ "reactions_by_artwork": by_artwork })
}
