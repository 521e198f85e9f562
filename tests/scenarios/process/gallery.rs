//! `index.html` and `SHA256SUMS` of a ZIP that is unpacked on the artist's disk.

use std::path::Path;
use std::process::Command;

use bdr_tests::browser::Browser;
use bdr_tests::{Artwork, Delivery, Scenario, ZipFile, scenario, scenario_apart};
use serde_json::json;
use shared::clock::Clock;
use tempfile::TempDir;
use time::macros::datetime;
use uuid::Uuid;

use super::archives_open_everywhere::open_in_every_reader;

/// A picture that a browser shows.
const PICTURE: &[u8] = include_bytes!("../../src/pixels.png");
/// What `sha256sum` prints for it.
const PICTURE_SHA256: &str = "a703bd0ad5455766ea9fe00989929aadc48ffe5bc9aff665d7f66d6a3178db89";
/// Texts that try to run a script or to load something.
const XSS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/gallery");

/// Returns the ZIP of a request for these posts with comments and reactions.
async fn zip(s: &Scenario, variables: &[(&str, &str)], posts: &[i32]) -> ZipFile {
    let bdr_id = s.request(posts).await;
    s.set(bdr_id, "include_comments = true, include_reactions = true").await;
    let worker = s.worker(variables).await;
    assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
    s.archive(bdr_id).await.unwrap_or_else(|| panic!("{}", s.log.text()))
}

fn unpack(s: &Scenario, zip: &ZipFile) -> TempDir {
    let folder = tempfile::tempdir_in(s.stack.scratch_directory()).unwrap();
    for (name, content) in zip.contents() {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}

fn url(folder: &Path, page: &str) -> String {
    format!("file://{}/{page}", folder.display())
}

/// Inserts three artworks, the second an animation, and one that is missing.
async fn exhibition(s: &Scenario) -> Vec<i32> {
    let mut posts = Vec::new();
    for (title, tags, day) in [("Banana", "{a}", 2), ("apple", "{a,B}", 3), ("Cherry", "{b}", 1)] {
        let created_at = datetime!(2025-03-01 5:06 UTC) + time::Duration::days(day);
        let artwork = Artwork { title, file: Some(PICTURE), created_at, ..Artwork::default() };
        let id = s.artwork(artwork).await;
        let sql =
            format!("UPDATE posts SET hashtags = '{tags}', frame_count = {day} WHERE id = {id}");
        s.database.batch_execute(&sql).await.unwrap();
        posts.push(id);
    }
    let comment = "INSERT INTO comments (post_id, body, created_at) VALUES ($1, 'So round', now())";
    s.database.execute(comment, &[&posts[1]]).await.unwrap();
    posts.push(s.artwork(Artwork { title: "Gone", file: None, ..Artwork::default() }).await);
    posts
}

/// Runs a scenario with a browser. Without Chromium it prints that nothing was checked; in CI it fails.
fn in_browser(test: impl AsyncFnOnce(&Scenario, &Browser)) {
    let Some(driver) = Browser::driver() else {
        assert!(std::env::var_os("CI").is_none(), ".ci/run installs Chromium");
        let note =
            b"NOT CHECKED: the gallery, because Debian's package chromium-driver is missing\n";
        std::io::Write::write_all(&mut std::io::stderr(), note).unwrap();
        return;
    };
    scenario(async |s| {
        let browser = Browser::start(&s, &driver).await;
        test(&s, &browser).await;
    });
}

/// Asserts that the page requested nothing but the files beside it, and that nothing was blocked.
async fn assert_offline(browser: &Browser, folder: &Path) {
    // Chromium draws controls with icons that are part of its program, such as the cross in a search field.
    let own_icons = "chrome://resources/";
    for request in browser.requests().await {
        let is_offline = request.starts_with(&url(folder, "")) || request.starts_with(own_icons);
        assert!(is_offline, "{request}");
    }
    assert_eq!(browser.console().await, "[]");
}

const TITLES: &str = "#artworks b";

#[test]
fn the_page_filters_sorts_and_shows_without_a_request() {
    in_browser(async |s, browser| {
        let folder = unpack(s, &zip(s, &[], &exhibition(s).await).await);
        browser.requests().await;
        browser.open(&url(folder.path(), "index.html")).await;
        assert_eq!(browser.texts(TITLES).await, ["Banana", "apple", "Cherry"]);
        let facts = browser.texts("#artworks small").await;
        assert_eq!(
            facts,
            ["16 × 32 2 frames 3 Mar 2025", "16 × 32 3 frames 4 Mar 2025", "16 × 32 2 Mar 2025"]
        );
        let missing = browser.texts("#missing li").await;
        assert_eq!(missing, ["Gone This artwork's file was not found."]);
        // The page sizes a picture at its event `load`, which may follow its first bytes.
        let whole = "return [...document.images].every((image) => image.naturalWidth > 0 && \
                     parseFloat(image.style.width) % image.naturalWidth === 0) || null";
        browser.find("the pictures, each scaled by a whole number", whole).await;

        for (order, titles) in [
            ("title", ["apple", "Banana", "Cherry"]),
            ("new", ["apple", "Banana", "Cherry"]),
            ("old", ["Cherry", "Banana", "apple"]),
        ] {
            browser.click(&format!("#sort option[value={order}]")).await;
            assert_eq!(browser.texts(TITLES).await, titles, "{order}");
        }
        browser.click("#tags button[data-tag=b]").await;
        assert_eq!(browser.texts(TITLES).await, ["Cherry", "apple"]);
        assert_eq!(browser.texts("#found").await, ["2 of 3"]);

        browser.run("document.querySelector('#artworks a').focus()").await;
        browser.press("\u{e014}").await; // right
        browser.press("\u{e007}").await; // enter
        assert_eq!(browser.texts("#title").await, ["apple"]);
        let about = browser.texts("#viewer .about").await.remove(0);
        for text in
            ["2 of 2", "#B", "16 × 32 pixels", "4 March 2025", "anonymous", "So round", "Frames"]
        {
            assert!(about.contains(text), "{text}: {about}");
        }
        browser.press("\u{e012}").await; // left
        assert_eq!(browser.texts("#title").await, ["Cherry"]);
        browser.press("\u{e00c}").await; // escape
        let is_focused = "return !document.querySelector('#viewer').open && \
                          document.activeElement.querySelector('b')?.textContent === 'Cherry' || null";
        // The page moves the focus at the event `close`, which follows the closing.
        browser.find("the focus on the artwork shown last", is_focused).await;
        assert_offline(browser, folder.path()).await;

        browser.permit_scripts(false).await;
        browser.open(&url(folder.path(), "index.html")).await;
        assert_eq!(browser.texts(TITLES).await, ["Banana", "apple", "Cherry"]);
        assert_eq!(browser.texts("#bar").await, [""], "the controls need scripts");
        assert_offline(browser, folder.path()).await;
    });
}

#[test]
fn no_text_of_a_person_becomes_markup_or_a_script() {
    in_browser(async |s, browser| {
        let mut posts = Vec::new();
        for file in std::fs::read_dir(XSS).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap().replace('\0', "");
            let artwork = Artwork { title: &text, file: Some(PICTURE), ..Artwork::default() };
            let id = s.artwork(artwork).await;
            let texts =
                "UPDATE posts SET description = title, hashtags = ARRAY[title] WHERE id = $1";
            s.database.execute(texts, &[&id]).await.unwrap();
            let comment = "INSERT INTO comments (post_id, body, created_at)
                           SELECT id, title, now() FROM posts WHERE id = $1";
            s.database.execute(comment, &[&id]).await.unwrap();
            posts.push(id);
        }
        let folder = unpack(s, &zip(s, &[], &posts).await);
        // Escaping must suffice, without the policy too.
        let page = std::fs::read_to_string(folder.path().join("index.html")).unwrap();
        let policy = page.lines().find(|line| line.contains("Content-Security-Policy")).unwrap();
        std::fs::write(folder.path().join("bare.html"), page.replace(policy, "")).unwrap();
        browser.requests().await;
        for page in ["index.html", "bare.html"] {
            browser.open(&url(folder.path(), page)).await;
            // An alert would fail this command.
            let everything = "
                document.querySelectorAll('#tags button').forEach((b) => { b.click(); b.click(); });
                const titles = [];
                document.querySelector('#artworks a').click();
                for (let i = 0; i < 100; i++) {
                    titles.push(document.querySelector('#comments p').textContent);
                    document.querySelector('#next').click();
                }
                const odd = 'iframe, form, base, object, embed, link[rel=stylesheet], [onerror], [onload]';
                return [new Set(titles).size, document.querySelectorAll(odd).length,
                        document.querySelectorAll('script').length]";
            assert_eq!(browser.run(everything).await, json!([posts.len(), 0, 2]), "{page}");
            assert_offline(browser, folder.path()).await;
        }
    });
}

#[test]
fn every_reader_opens_the_zip_and_sha256sum_verifies_its_files() {
    scenario(async |s| {
        let zip = zip(&s, &[], &exhibition(&s).await).await;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &zip.bytes).unwrap();
        open_in_every_reader(file.path(), zip.names().len());
        let folder = unpack(&s, &zip);
        let check = || {
            let mut sha256sum = Command::new("sha256sum");
            sha256sum.args(["--strict", "-c", "SHA256SUMS"]).current_dir(folder.path());
            sha256sum.output().unwrap()
        };
        let output = check();
        assert!(output.status.success(), "{output:?}");
        let checked = String::from_utf8(output.stdout).unwrap().lines().count();
        assert_eq!(checked, zip.names().len() - 1, "every file but the list itself");
        let metadata = zip.json("metadata.json");
        let first = &metadata["artworks"][0];
        assert_eq!(first["size_bytes"], PICTURE.len());
        let sums = String::from_utf8(zip.content("SHA256SUMS")).unwrap();
        let line = format!(
            "{}  artworks/{}\n",
            first["sha256"].as_str().unwrap(),
            first["filename"].as_str().unwrap()
        );
        assert!(sums.starts_with(&line), "{sums}");
        std::fs::write(folder.path().join("comments.json"), "{}").unwrap();
        assert!(!check().status.success());
    });
}

/// Prints how long Chromium takes to open the page of 5,000 artworks, to filter and to sort it.
#[test]
#[ignore = "a benchmark; docs/performance.md has the command"]
fn a_page_of_5000_artworks_opens() {
    in_browser(async |s, browser| {
        let first = s.artwork(Artwork { file: Some(PICTURE), ..Artwork::default() }).await;
        let copies = "INSERT INTO posts (public_sqid, title, description, hashtags, art_url, file_format,
                                         width, height, created_at, owner_id)
                      SELECT public_sqid || i, 'Artwork ' || i, description, hashtags, art_url, file_format,
                             width, height, created_at - make_interval(hours => i), owner_id
                        FROM posts, generate_series(2, 5000) AS i WHERE id = $1 RETURNING id";
        let copies = s.database.query(copies, &[&first]).await.unwrap();
        let posts: Vec<i32> = copies.iter().map(|row| row.get(0)).chain([first]).collect();
        let folder = unpack(s, &zip(s, &[], &posts).await);
        let page = folder.path().join("index.html");
        let mut lines = vec![format!("index.html: {} bytes", page.metadata().unwrap().len())];
        for _ in 0..5 {
            browser.open(&url(folder.path(), "index.html")).await;
            let times = "
                const [page] = performance.getEntriesByType('navigation');
                const [paint] = performance.getEntriesByName('first-contentful-paint');
                const time = (action) => {
                    const start = performance.now();
                    action();
                    document.body.offsetHeight;
                    return Math.round(performance.now() - start);
                };
                const sort = document.querySelector('#sort'), search = document.querySelector('#search');
                const change = (field, value, event) => () => {
                    field.value = value;
                    field.dispatchEvent(new Event(event));
                };
                return { painted: Math.round(paint ? paint.startTime : -1), loaded: Math.round(page.loadEventEnd),
                         filtered: time(change(search, '99', 'input')),
                         cleared: time(change(search, '', 'input')),
                         sorted: time(change(sort, 'title', 'change')),
                         artworks: document.querySelectorAll('#artworks li').length }";
            let times = browser.run(times).await;
            assert_eq!(times["artworks"], 5_000);
            lines.push(format!("in ms: {times}"));
        }
        std::io::Write::write_all(&mut std::io::stderr(), lines.join("\n").as_bytes()).unwrap();
    });
}

/// Returns the ZIP of rows, files and a time that are always the same, with every document. `posts` has the
/// columns that only the gallery shows.
async fn unchanging(s: &Scenario, bdr_id: Uuid, variables: &[(&str, &str)]) -> ZipFile {
    let key = s.request(&[1, 2, 3, 4]).await;
    s.set(key, &format!("id = '{bdr_id}', include_comments = true, include_reactions = true"))
        .await;
    let mut worker = s.worker(variables).await;
    worker.handler.job.archiver.clock = Clock::fixed(datetime!(2026-01-02 03:04:05.6 UTC));
    assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
    s.archive(bdr_id).await.unwrap_or_else(|| panic!("{}", s.log.text()))
}

/// Inserts the rows and files of [`unchanging`].
async fn insert_unchanging(s: &Scenario) {
    let mut bitmap = b"BM".to_vec();
    bitmap.resize(4_000, 7);
    for (sqid, title, format, file) in [
        ("Ab1", "Größe & <b>", "png", Some(PICTURE)),
        ("Cd2", "", "bmp", Some(&bitmap[..])),
        ("Ef3", "\u{1f600}", "gif", Some(b"pixels")),
        ("Gh4", "Gone", "png", None),
    ] {
        let (sqid, file_format) = (Some(sqid.to_owned()), Some(format));
        s.artwork(Artwork { sqid, title, file_format, file, ..Artwork::default() }).await;
    }
    let rows = format!(
        "UPDATE users SET handle = 'Zoë' WHERE id = {};
         UPDATE posts SET description = repeat('Größe ' || id, 20000), frame_count = id;
         ALTER TABLE posts ADD mod_hashtags text[] DEFAULT '{{checked}}',
                           ADD license text DEFAULT 'CC0',
                           ADD source_url text DEFAULT 'https://makapix.club/p/x';
         GRANT SELECT ON posts TO makapix_bdr;
         INSERT INTO comments (id, post_id, body, created_at)
         SELECT md5(i::text)::uuid, 1 + i % 2, 'So round ' || i, timestamptz '2025-04-01Z' + make_interval(mins => i)
           FROM generate_series(1, 20) AS i;
         INSERT INTO reactions (post_id, emoji) VALUES (1, '\u{1f525}'), (1, '\u{1f525}'), (3, '+1');",
        s.user_id
    );
    s.database.batch_execute(&rows).await.unwrap();
}

#[test]
fn without_the_page_the_zip_is_byte_for_byte_that_of_before() {
    /// That ZIP, from the version before the gallery.
    const BEFORE: &[u8] = include_bytes!("before_gallery.zip");
    scenario_apart(async |s| {
        insert_unchanging(&s).await;
        let [first, second, third] = [1, 2, 3].map(Uuid::from_u128);
        let zip = unchanging(&s, first, &[("GALLERY_PAGE", "false")]).await;
        let before = ZipFile { bytes: BEFORE.to_vec() };
        assert_eq!(zip.listing(), before.listing());
        let text = |zip: &ZipFile| String::from_utf8(zip.content("metadata.json")).unwrap();
        assert!(text(&zip) == text(&before), "{}", text(&zip));
        assert!(zip.bytes == before.bytes, "other bytes with the same content: a new compressor?");

        let zip = unchanging(&s, second, &[]).await;
        let artwork = zip.json("metadata.json")["artworks"][0].clone();
        for (member, value) in [
            ("license", "CC0"),
            ("source_url", "https://makapix.club/p/x"),
            ("sha256", PICTURE_SHA256),
        ] {
            assert_eq!(artwork[member], value, "{member}");
        }
        let comment = format!(
            "bdr {second}: 3 artworks, 1 missing; Makapix Club (https://makapix.club) prepared this \
             download on 2 January 2026."
        );
        let length = u16::try_from(comment.len()).unwrap().to_le_bytes();
        assert!(zip.bytes.ends_with(&[&length, comment.as_bytes()].concat()));

        let mut names = zip.names();
        names.retain(|name| name != "SHA256SUMS");
        let zip = unchanging(&s, third, &[("CHECKSUMS", "false")]).await;
        assert_eq!(zip.names(), names);
        assert!(!String::from_utf8(zip.content("index.html")).unwrap().contains("SHA256SUMS"));
        let artwork = &zip.json("metadata.json")["artworks"][0];
        assert_eq!(artwork["license"], "CC0");
        assert!(artwork["size_bytes"].is_number() && artwork["sha256"].is_null(), "{artwork}");
    });
}
