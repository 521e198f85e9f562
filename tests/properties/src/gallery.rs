//! The page of an archive, `index.html`: whatever people wrote, it has the same elements, and its details
//! are their texts.

use std::sync::LazyLock;

use process_bdr_job::archive::documents::{FileFacts, Metadata, Totals};
use process_bdr_job::archive::gallery::{Gallery, PageComments};
use process_bdr_job::artwork::{Formats, VaultUrls, plan};
use process_bdr_job::load::{Comment, MissingPost, Post, Reactions};
use process_bdr_job::wording::Wording;
use serde_json::Value;
use shared::sqid::Sqid;
use time::OffsetDateTime;

/// Checks the page of an artist who writes `input` wherever a person can write.
pub fn check(input: &[u8]) {
    static HARMLESS: LazyLock<Vec<String>> = LazyLock::new(|| tags(&page("text")));
    let text = String::from_utf8_lossy(input);
    let page = page(&text);
    assert_eq!(tags(&page), *HARMLESS, "{text:?}");
    let (_, data) = page.split_once(r#"id="data">"#).unwrap();
    let (data, _) = data.split_once("</script>").unwrap();
    assert!(!data.contains(['<', '>', '&']), "the data would not end where it should: {data}");
    let data: Value = serde_json::from_str(data).unwrap();
    let details = &data[0];
    let author = &details["comments"][0]["author"];
    for shown in [&details["hashtags"][0], &details["comments"][0]["body"], author] {
        assert_eq!(shown, &*text);
    }
    assert_eq!(details["reactions"][0][0], *text);
    let description = details["description"].as_str().unwrap_or_default();
    assert_eq!(description, text);
    let link = details["source"].as_str().unwrap_or("https:");
    assert!(link.trim_start().to_lowercase().starts_with("http"), "{link:?}");
}

/// Returns the page of an artwork and a missing one with this text everywhere.
fn page(text: &str) -> String {
    let post = |id, art_url: Option<&str>| Post {
        id,
        sqid: Sqid::parse("a"),
        title: Some(text.to_owned()),
        description: Some(text.to_owned()),
        hashtags: vec![text.to_owned()],
        mod_hashtags: None,
        license: Some(text.to_owned()),
        source_url: Some(text.to_owned()),
        art_url: art_url.map(str::to_owned),
        file_format: None,
        width: Some(8),
        height: Some(8),
        frame_count: Some(1),
        created_at: None,
    };
    let posts: [Result<Post, MissingPost>; 2] = [Ok(post(1, Some("/vault/x"))), Ok(post(2, None))];
    let mut metadata = Metadata::new(OffsetDateTime::UNIX_EPOCH, text, posts.len());
    for plan in plan(&posts, VaultUrls::default(), Formats::default()) {
        match plan {
            Ok(planned) => metadata.add(planned, Some(FileFacts { size_bytes: 1, checksum: None })),
            Err(missing) => metadata.add_missing(&missing),
        }
    }
    let mut totals = Totals::default();
    totals.add(&metadata);
    let mut comments = PageComments::default();
    comments.add(&Comment {
        post_id: 1,
        id: text.to_owned(),
        author_handle: Some(text.to_owned()),
        body: text.to_owned(),
        created_at: None,
    });
    let mut page = Vec::new();
    let gallery = Gallery {
        pages: &[&metadata],
        totals: &totals,
        comments: &comments,
        reactions: &[Reactions { post_id: 1, emoji: text.to_owned(), count: 1 }],
        wording: &Wording::default(),
        base_url: "https://makapix.club",
        folder: "artworks",
        checksums: true,
    };
    gallery.write(&mut page).unwrap();
    String::from_utf8(page).unwrap()
}

/// Returns everything in the page that begins with `<`, and the attributes of it. The values of attributes
/// hold no `>`, and no text of a person.
fn tags(page: &str) -> Vec<String> {
    let tag = |rest: &str| rest.split_inclusive('>').next().unwrap_or_default().to_owned();
    page.split('<').skip(1).map(tag).collect()
}
