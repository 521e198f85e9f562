//! What the archive has to hold, made from the scene alone, and compared with what it does hold.

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use super::{
    Archive, Checks,
    scene::{Exhibit, Scene, Source},
};

const DOCUMENTS: [&str; 3] = ["metadata.json", "comments.json", "reactions.json"];

pub(crate) fn check(scene: &Scene, archive: &Archive, checks: &mut Checks) -> Result<()> {
    let count = scene.available().count();
    checks.group(&format!("{count} artworks, each byte for byte what was put in"), |checks| {
        check_artworks(scene, archive, checks);
    });

    let [metadata, comments, reactions] = DOCUMENTS.map(|name| document(archive, name));
    let (mut metadata, comments, reactions) = (metadata?, comments?, reactions?);
    checks.group("metadata.json describes them, and names the one that is missing", |checks| {
        check_reasons(&mut metadata, checks);
        checks.same_json("metadata.json", &expected_metadata(scene), &metadata);
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
    let names: Vec<String> = scene
        .available()
        .map(|exhibit| format!("artworks/{}", filename(exhibit)))
        .chain(DOCUMENTS.map(str::to_owned))
        .collect();
    let actual: Vec<String> = archive.names().into_iter().map(str::to_owned).collect();
    checks.equal("the names in the archive", &names, &actual);
    for exhibit in scene.available() {
        let name = format!("artworks/{}", filename(exhibit));
        let content = archive.content(&name);
        checks.holds(
            &name,
            content == Some(exhibit.artwork.bytes.as_slice()),
            format!("the {} bytes that were put in", exhibit.artwork.bytes.len()),
            content.map_or("no such entry".to_owned(), |bytes| {
                format!("{} bytes, of which some differ", bytes.len())
            }),
        );
    }
}

fn filename(exhibit: &Exhibit) -> String {
    format!("{}.{}", exhibit.sqid, exhibit.artwork.extension())
}

/// A document of the archive; the time it was generated is checked and taken out, and all times are
/// brought to one form.
fn document(archive: &Archive, name: &str) -> Result<Value> {
    let content = archive.content(name).with_context(|| format!("the archive has no {name}"))?;
    let mut document: Value =
        serde_json::from_slice(content).with_context(|| format!("{name} is not JSON"))?;
    let generated = document
        .as_object_mut()
        .and_then(|members| members.remove("generated_at"))
        .with_context(|| format!("{name} has no generated_at"))?;
    generated
        .as_str()
        .and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok())
        .with_context(|| format!("{name} was generated at {generated}, which is no time"))?;
    unify_times(&mut document);
    Ok(document)
}

/// `2024-05-01T10:00:00+00:00` and `2024-05-01T10:00:00Z` are the same time.
fn unify_times(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let parsed = member.as_str().map(|text| OffsetDateTime::parse(text, &Rfc3339));
                match parsed {
                    Some(Ok(time)) if name == "created_at" => *member = timestamp(time),
                    _ => unify_times(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(unify_times),
        _ => {}
    }
}

fn timestamp(time: OffsetDateTime) -> Value {
    json!(time.to_offset(UtcOffset::UTC).format(&Rfc3339).unwrap_or_default())
}

/// The reason is the function's to word: it has to be there, and is taken out.
fn check_reasons(metadata: &mut Value, checks: &mut Checks) {
    for missing in metadata["missing_artworks"].as_array_mut().into_iter().flatten() {
        let reason = missing.as_object_mut().and_then(|members| members.remove("reason"));
        checks.holds(
            "metadata.json /missing_artworks: reason",
            reason.as_ref().and_then(Value::as_str).is_some_and(|reason| !reason.is_empty()),
            "some words",
            reason,
        );
    }
}

fn expected_metadata(scene: &Scene) -> Value {
    let artworks: Vec<Value> = scene
        .available()
        .map(|exhibit| {
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
            })
        })
        .collect();
    let missing: Vec<Value> = scene
        .posts
        .iter()
        .filter(|exhibit| exhibit.source == Source::Missing)
        .map(|exhibit| json!({"sqid": exhibit.sqid, "title": exhibit.post.title}))
        .collect();
    json!({
        "user_handle": scene.artist.handle,
        "artwork_count": artworks.len(),
        "artworks": artworks,
        "missing_artworks": missing,
    })
}

fn expected_comments(scene: &Scene) -> Value {
    let mut by_artwork = Map::new();
    for (place, exhibit) in scene.posts.iter().enumerate() {
        let mut remarks: Vec<_> = scene
            .comments
            .iter()
            .filter(|remark| remark.post == place)
            .filter(|remark| !remark.comment.hidden_by_mod && !remark.comment.deleted_by_owner)
            .collect();
        remarks.sort_by_key(|remark| remark.comment.created_at);
        let remarks: Vec<Value> = remarks
            .into_iter()
            .map(|remark| {
                json!({
                    "id": remark.id,
                    "author_handle": remark.author,
                    "body": remark.comment.body,
                    "created_at": timestamp(remark.comment.created_at),
                })
            })
            .collect();
        if !remarks.is_empty() {
            by_artwork.insert(exhibit.sqid.clone(), remarks.into());
        }
    }
    json!({ "comments_by_artwork": by_artwork })
}

fn expected_reactions(scene: &Scene) -> Value {
    let mut by_artwork = Map::new();
    for &(post, emoji, count) in &scene.reactions {
        let counts = by_artwork.entry(scene.posts[post].sqid.clone()).or_insert_with(|| json!({}));
        counts[emoji] = json!(count);
    }
    json!({ "reactions_by_artwork": by_artwork })
}
