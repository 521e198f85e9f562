//! The whole life of a request on each schema, through the released binary, as the least-privilege role.

use std::collections::BTreeSet;

use bdr_tests::in_process::{Cleaner, presign};
use bdr_tests::lambda::{Deployed, EventSource, TestQueue};
use bdr_tests::scenario;
use bdr_tests::scenario::unique;
use serde_json::{Value, json};

use super::site::{Comment, Schema, Site};

/// Artworks of a request: the API's limit.
const ARTWORKS: usize = 128;
/// The artworks whose file is missing.
const MISSING: usize = 3;

#[test]
fn the_whole_life_of_a_request_on_the_specifications_schema() {
    scenario(async |s| whole_life(&Site::create(s, Schema::Specification).await).await);
}

#[test]
fn the_whole_life_of_a_request_on_the_schema_of_2026() {
    scenario(async |s| whole_life(&Site::create(s, Schema::Makapix2026).await).await);
}

#[test]
fn the_whole_life_of_a_request_on_a_photo_gallery() {
    scenario(async |s| whole_life(&Site::create(s, Schema::PhotoGallery).await).await);
}

async fn whole_life(site: &Site) {
    let s = &site.s;
    let mut artworks = Vec::new();
    for index in 0..ARTWORKS {
        // Sqids of even and of odd length: with and without a shard.
        let sqid = unique(if index % 2 == 0 { "a" } else { "ab" });
        let file = format!("pixels {index}");
        let file = (index >= MISSING).then_some(file.as_bytes());
        artworks.push((sqid.clone(), site.artwork(&sqid, file).await));
    }
    let (commented, last) = (artworks[5].1, artworks[ARTWORKS - 1].1);
    let kinds = [
        Comment::Visible,
        Comment::HiddenByModerator,
        Comment::DeletedByAuthor,
        Comment::DeletedByModerator,
    ];
    for kind in kinds {
        site.comment(commented, &format!("{kind:?}"), kind).await;
    }
    let emoji = site.react(last).await;
    let ids: Vec<i64> = artworks.iter().map(|(_, id)| *id).collect();
    let bdr_id = site.request(&ids).await;

    let deployed = Deployed::process_bdr_job(s.stack).await.unwrap();
    let queue = TestQueue::create(s.sqs.clone(), &unique("q"), deployed.timeout).await.unwrap();
    let logs = tempfile::tempdir().unwrap();
    let mut changed =
        vec![("DATABASE_URL", s.database_url.clone()), ("BDR_QUEUE_URL", queue.url().to_owned())];
    changed.extend(site.variables().into_iter().map(|(name, value)| (name, value.to_owned())));
    let mut source = EventSource::new(&deployed, changed, logs.path().to_owned());
    let message = queue.deliver(bdr_id).await.unwrap();
    source.process(&queue, &message).await.unwrap();

    let row = s.row(bdr_id).await;
    assert_eq!(row["status"], "ready", "{}", source.log());
    let zip = s.archive(bdr_id).await.expect("the ZIP");
    assert_eq!(row["file_size_bytes"], zip.bytes.len());
    let is_gallery = site.schema == Schema::PhotoGallery;
    let folder = if is_gallery { "photos" } else { "artworks" };
    for (index, (sqid, _)) in artworks.iter().enumerate().skip(MISSING) {
        let content = zip.content(&format!("{folder}/{sqid}.png"));
        assert_eq!(content, format!("pixels {index}").as_bytes());
    }
    let metadata = zip.json("metadata.json");
    let packed = metadata["artworks"].as_array().unwrap();
    assert_eq!(packed.len(), ARTWORKS - MISSING);
    assert_eq!(metadata["missing_artworks"].as_array().unwrap().len(), MISSING);
    let mod_hashtags = (site.schema == Schema::Makapix2026).then(|| json!(["checked"]));
    for artwork in packed {
        assert_eq!(artwork.get("mod_hashtags"), mod_hashtags.as_ref(), "{artwork}");
        assert_eq!(artwork["hashtags"], json!(["pixelart"]));
        assert_eq!((&artwork["width"], &artwork["height"]), (&json!(16), &json!(32)));
    }
    let comments = zip.json("comments.json").to_string();
    for kind in kinds {
        let is_in_zip = comments.contains(&format!("\"{kind:?}\""));
        assert_eq!(is_in_zip, kind == Comment::Visible, "{kind:?}: {comments}");
    }
    let reactions = zip.json("reactions.json").to_string();
    assert!(reactions.contains(emoji) && reactions.contains('2'), "{reactions}");

    let emails = s.emails().await;
    assert_eq!(emails.len(), 1);
    let subject = if is_gallery {
        "Your Lumen download is ready (125 photos)"
    } else {
        "Your Makapix download is ready (125 artworks)"
    };
    assert_eq!(emails[0].subject, subject);
    let link = if is_gallery {
        format!("https://photos.example/members/{}/albums?download={bdr_id}", s.user_sqid)
    } else {
        format!("https://makapix.club/u/{}/posts?bdr={bdr_id}", s.user_sqid)
    };
    assert!(emails[0].text.contains(&link), "{}", emails[0].text);
    for word in ["Makapix", "artworks"] {
        assert_eq!(emails[0].text.contains(word), !is_gallery, "{}", emails[0].text);
    }

    let question = json!({"bdr_id": bdr_id, "user_id": site.artist});
    let answer = presign(s, &site.variables(), question).await.unwrap();
    let name = if is_gallery { "lumen-photos" } else { "makapix-artworks" };
    assert_eq!(answer["filename"], format!("{name}-{}.zip", &bdr_id.to_string()[..8]));
    let url = answer["url"].as_str().expect("the answer is ok");
    let download = local_stack::http::client().unwrap().get(url).send().await.unwrap();
    assert_eq!(download.bytes().await.unwrap(), zip.bytes);
    let stranger = json!({"bdr_id": bdr_id, "user_id": site.artist + 1});
    assert_eq!(presign(s, &[], stranger).await.unwrap(), json!({"status": "not_found"}));

    s.set(bdr_id, "expires_at = now() - interval '1 second'").await;
    let report = Cleaner::new(s, &[]).await.run(json!({"only": ["expire"]})).await.unwrap();
    assert_eq!((&report["cleaned_up"], &report["errors"]), (&json!(1), &Value::Null));
    assert_eq!(s.row(bdr_id).await["status"], "expired");
    assert!(s.archive(bdr_id).await.is_none());
}

#[test]
fn every_schema_has_its_own_adapter() {
    let adapters: BTreeSet<_> = Schema::ALL.map(Schema::adapter).into();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/sql/adapters");
    let files = std::fs::read_dir(folder).unwrap();
    let files: BTreeSet<_> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, adapters.into_iter().map(str::to_owned).collect());
}

/// The parts that every adapter has in common: the role and the privileges on the requests.
#[test]
fn the_adapters_agree_on_the_role_and_the_requests() {
    let text = |schema: Schema| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/sql/adapters/");
        std::fs::read_to_string(format!("{folder}{}", schema.adapter())).unwrap()
    };
    let role = |text: &str| {
        let (_, rest) = text.split_once("-- Roles belong to the whole cluster").unwrap();
        let (role, _) = rest.split_once("ON public.batch_download_requests TO").unwrap();
        role.to_owned()
    };
    let schema = |text: &str| {
        let (_, rest) = text.split_once("GRANT USAGE ON SCHEMA makapix_bdr").unwrap();
        rest.split_once("search_path = makapix_bdr, public;").unwrap().0.to_owned()
    };
    let texts = Schema::ALL.map(text);
    assert!(texts.iter().all(|text| role(text) == role(&texts[0])));
    assert_eq!(schema(&texts[1]), schema(&texts[2]));
    for text in texts {
        assert!(
            text.contains("\n\\set ON_ERROR_STOP on\nBEGIN;\n") && text.ends_with("\nCOMMIT;\n")
        );
    }
}
