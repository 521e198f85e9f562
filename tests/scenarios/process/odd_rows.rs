//! One odd row costs one artwork at most, never the request.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use bdr_tests::web::PIXELS;
use bdr_tests::{Artwork, Delivery, Scenario, ZipFile, scenario, scenario_apart};
use local_stack::remote::RemoteHost;
use local_stack::seed;
use process_bdr_job::artwork::Fetcher;
use process_bdr_job::memory::{MIB, Memory};
use process_bdr_job::remote::{Remote, Web};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};
use shared::sqid::Sqid;
use shared::vault::Vault;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;

/// Number of random requests.
const REQUESTS: usize = 12;
/// Number of random pairs of an artist and an author.
const USERS: usize = 40;

/// Inserts an artwork and sets columns of its row.
async fn artwork(s: &Scenario, title: &str, assignments: &str) -> i32 {
    let id = s.artwork(Artwork { title, ..Artwork::default() }).await;
    let sql = format!("UPDATE posts SET {assignments} WHERE id = {id}");
    s.database.batch_execute(&sql).await.unwrap();
    id
}

async fn comment(s: &Scenario, post_id: i32, body: &str, created_at: &str) {
    let insert = "INSERT INTO comments (post_id, author_id, body, created_at)
                  VALUES ($1, $2, $3, $4::text::timestamptz)";
    s.database.execute(insert, &[&post_id, &s.user_id, &body, &created_at]).await.unwrap();
}

/// Processes a request with all documents; returns its ZIP.
async fn process(s: &Scenario, posts: &[i32]) -> ZipFile {
    let request = seed::Request {
        user_id: s.user_id,
        post_ids: posts.to_vec(),
        include_comments: true,
        include_reactions: true,
        send_email: true,
    };
    let bdr_id = request.insert(&s.database).await.unwrap();
    let delivery = s.worker(&[]).await.receive(bdr_id).await;
    assert_eq!(delivery, Delivery::Acknowledged, "{}", s.log.text());
    assert_eq!(s.row(bdr_id).await["status"], "ready", "{}", s.log.outcome());
    assert_eq!(s.emails().await.last().map(|email| email.to.clone()), Some(vec![s.email.clone()]));
    s.archive(bdr_id).await.expect("an archive")
}

/// Returns the given member of each artwork in the archive.
fn members(zip: &ZipFile, name: &str) -> Vec<Value> {
    let metadata = zip.json("metadata.json");
    assert_eq!(metadata["missing_artworks"], json!([]));
    metadata["artworks"].as_array().unwrap().iter().map(|entry| entry[name].clone()).collect()
}

#[test]
fn a_time_that_json_cannot_represent_is_null() {
    scenario(async |s| {
        let times = [
            "infinity",
            "-infinity",
            "12000-01-01 00:00Z",
            "0044-03-15 12:00Z BC",
            "0001-01-01 00:00Z BC",
            "0001-01-01 00:00Z",
            "9999-12-31 23:59:59.999999Z",
        ];
        let mut posts = Vec::new();
        for time in times {
            let post = artwork(&s, time, &format!("created_at = '{time}'")).await;
            comment(&s, post, "odd", time).await;
            posts.push(post);
        }
        let zip = process(&s, &posts).await;
        let mut expected = vec![Value::Null; 5];
        expected.extend([json!("0001-01-01T00:00:00Z"), json!("9999-12-31T23:59:59.999999Z")]);
        assert_eq!(members(&zip, "created_at"), expected);
        let comments = zip.json("comments.json");
        let comments = comments["comments_by_artwork"].as_object().unwrap();
        let mut found: Vec<_> =
            comments.values().map(|comments| comments[0]["created_at"].clone()).collect();
        found.sort_by_key(|time| time.as_str().map(str::to_owned));
        assert_eq!(found, expected);
        let listing = zip.listing();
        assert_eq!(listing.matches(" 1980-01-01 00:00:00 ").count(), 6, "{listing}");
    });
}

#[test]
fn hashtags_of_any_dimension_are_flattened_without_nulls() {
    scenario(async |s| {
        let mut posts = Vec::new();
        for hashtags in ["{{a}}", "{{a,b},{NULL,c}}", "{NULL,\"\",\"ä \\\"x\\\"\"}", "[5:6]={a,b}"]
        {
            posts.push(artwork(&s, hashtags, &format!("hashtags = '{hashtags}'")).await);
        }
        posts.push(artwork(&s, "null", "hashtags = NULL").await);
        let expected = [
            json!(["a"]),
            json!(["a", "b", "c"]),
            json!(["", "ä \"x\""]),
            json!(["a", "b"]),
            json!([]),
        ];
        assert_eq!(members(&process(&s, &posts).await, "hashtags"), expected);
    });
}

#[test]
fn columns_of_custom_types_are_read() {
    scenario_apart(async |s| {
        let types = "
            CREATE EXTENSION citext;
            CREATE TYPE format AS ENUM ('png', 'gif');
            CREATE DOMAIN moment AS timestamptz;
            CREATE DOMAIN tags AS citext[];
            ALTER TABLE users ALTER handle TYPE citext, ALTER email TYPE citext,
                              ALTER public_sqid TYPE citext;
            ALTER TABLE posts ALTER public_sqid TYPE citext, ALTER title TYPE citext,
                              ALTER description TYPE citext, ALTER hashtags TYPE tags,
                              ALTER art_url TYPE citext,
                              ALTER file_format TYPE format USING file_format::format,
                              ALTER width TYPE bigint, ALTER height TYPE smallint,
                              ALTER frame_count TYPE numeric, ALTER created_at TYPE moment;
            ALTER TABLE comments ALTER body TYPE citext, ALTER created_at TYPE moment;
            ALTER TABLE reactions ALTER emoji TYPE citext";
        let post = s.artwork(Artwork { file: Some(PIXELS), ..Artwork::default() }).await;
        // Some 100 comments fill the driver's buffer, behind which a look-up of a type would wait.
        let comments = "INSERT INTO comments (post_id, author_id, body)
                        SELECT $1, $2, repeat('x', 500) FROM generate_series(1, 150)";
        s.database.execute(comments, &[&post, &s.user_id]).await.unwrap();
        seed::react(&s.database, post, "+1", 3).await.unwrap();
        s.database.batch_execute(types).await.unwrap();
        let zip = process(&s, &[post]).await;
        for (name, expected) in [
            ("hashtags", json!(["pixelart", "größe"])),
            ("file_format", json!("png")),
            ("width", json!(16)),
            ("height", json!(32)),
            ("frame_count", json!(1)),
            ("created_at", json!("2025-03-04T05:06:08Z")),
        ] {
            assert_eq!(members(&zip, name), [expected], "{name}");
        }
        let comments = zip.json("comments.json");
        let comments = comments["comments_by_artwork"].as_object().unwrap();
        let comments = comments.values().next().unwrap().as_array().unwrap();
        assert_eq!(comments.len(), 150);
        let handle = format!("artist {}", s.user_sqid);
        assert!(comments.iter().all(|comment| comment["author_handle"] == handle.as_str()));
        let reactions = zip.json("reactions.json").to_string();
        assert!(reactions.contains(r#"{"+1":3}"#), "{reactions}");
    });
}

#[test]
fn a_handle_of_an_enum_is_read() {
    scenario_apart(async |s| {
        let handle = format!("artist {}", s.user_sqid);
        let types = format!(
            "CREATE TYPE handle AS ENUM ('{handle}');
             ALTER TABLE users ALTER handle TYPE handle USING handle::handle"
        );
        s.database.batch_execute(&types).await.unwrap();
        let post = s.artwork(Artwork::default()).await;
        comment(&s, post, "hello", "2025-01-01").await;
        let zip = process(&s, &[post]).await;
        assert_eq!(zip.json("metadata.json")["user_handle"], handle.as_str());
        let comments = zip.json("comments.json").to_string();
        assert!(comments.contains(&format!(r#""author_handle":"{handle}""#)), "{comments}");
    });
}

#[test]
fn an_unreadable_row_is_one_missing_artwork() {
    scenario_apart(async |s| {
        // Puts invalid UTF-8 into text columns, as a database with the encoding SQL_ASCII may hold.
        s.database.batch_execute("CREATE CAST (bytea AS text) WITHOUT FUNCTION").await.unwrap();
        let invalid = r"'\xff'::bytea::text";
        let odd = artwork(&s, "odd", &format!("description = {invalid}")).await;
        let good = s.artwork(Artwork { title: "good", ..Artwork::default() }).await;
        comment(&s, good, "odd", "2025-01-01").await;
        seed::react(&s.database, good, "+1", 1).await.unwrap();
        let rows =
            format!("UPDATE comments SET body = {invalid}; UPDATE reactions SET emoji = {invalid}");
        s.database.batch_execute(&rows).await.unwrap();
        let zip = process(&s, &[odd, good]).await;
        let metadata = zip.json("metadata.json");
        assert_eq!(metadata["artworks"][0]["title"], "good");
        let reason = "This artwork's entry could not be read.";
        let expected =
            json!([{"post_id": odd, "title": null, "code": "malformed_row", "reason": reason}]);
        assert_eq!(metadata["missing_artworks"], expected);
        for (name, expected) in
            [("comments.json", r#""body":"","#), ("reactions.json", r#"{"":1}"#)]
        {
            let document = zip.json(name).to_string();
            assert!(document.contains(expected), "{document}");
        }
    });
}

#[test]
fn without_a_format_the_extension_of_the_address_decides() {
    scenario(async |s| {
        let host = RemoteHost::start().unwrap();
        let web = |path: &str| host.put(path, "image/gif", b"GIF89a and pixels".to_vec());
        let vault = |path: &str| format!("/vault/{}/{path}", s.user_sqid);
        let mut posts = Vec::new();
        for (url, format, expected) in [
            (web("/cat.gif"), None, "gif"),
            (format!("{}?size=1.png", web("/cat.GIF")), Some(""), "gif"),
            (vault("cat.gif"), None, "gif"),
            (vault("dog.JPEG"), Some(""), "jpeg"),
            (vault("cat.qoi"), None, "qoi"),
            (vault("cat.exe"), None, "png"),
            (vault("cat"), None, "png"),
            (vault("fish.gif"), Some("webp"), "webp"),
        ] {
            if let Some(key) = url.strip_prefix("/vault/") {
                s.put(key, b"GIF89a and pixels").await;
            }
            let art_url = Some(Some(url));
            let sqid = Some(bdr_tests::scenario::unique("a"));
            let name = format!("{}.{expected}", sqid.as_deref().unwrap());
            let artwork = Artwork {
                sqid,
                title: &name,
                file: None,
                file_format: format,
                art_url,
                ..Artwork::default()
            };
            posts.push(s.artwork(artwork).await);
        }
        let variables = [("REMOTE_ALLOW_HOSTS", host.authority()), ("EXTRA_FORMATS", "qoi")];
        let bdr_id = s.request(&posts).await;
        assert_eq!(s.worker(&variables).await.receive(bdr_id).await, Delivery::Acknowledged);
        let zip = s.archive(bdr_id).await.expect("an archive");
        assert_eq!(members(&zip, "filename"), members(&zip, "title"));
    });
}

/// A row of `posts` with one comment, as SQL literals and texts.
#[derive(Debug, Clone)]
struct Row {
    title: String,
    description: Option<String>,
    hashtags: String,
    created_at: String,
    width: Option<i32>,
    body: String,
    commented_at: String,
}

/// Returns rows that PostgreSQL can hold.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let text = || {
        prop_oneof![
            Just(String::new()),
            any::<String>(),
            "[\u{1}-\u{1f}\"\\\\\u{2028}\u{1f600}]{0,20}",
            (1..200_000_usize).prop_map(|length| "größe ".repeat(length / 6)),
        ]
        // PostgreSQL holds no NUL.
        .prop_map(|text| text.replace('\0', ""))
    };
    let time = || {
        prop_oneof![
            select(vec!["infinity", "-infinity", "4714-11-24 00:00Z BC", "294276-12-31 23:59Z"])
                .prop_map(str::to_owned),
            // From 4713 BC to 294276.
            (-211_813_488_000_i64..9_224_318_015_999, 0..1_000_000_i64)
                .prop_map(|(s, micros)| format!("{s} s {micros} us")),
        ]
    };
    let element = || prop_oneof![Just("NULL".to_owned()), text().prop_map(|text| quoted(&text))];
    let hashtags = prop_oneof![
        Just("NULL".to_owned()),
        vec(element(), 0..4).prop_map(|tags| format!("ARRAY[{}]::text[]", tags.join(","))),
        vec((element(), element()), 1..4).prop_map(|tags| {
            let rows: Vec<_> = tags.iter().map(|(a, b)| format!("[{a},{b}]")).collect();
            format!("ARRAY[{}]::text[]", rows.join(","))
        }),
    ];
    let description = prop_oneof![Just(None), text().prop_map(Some)];
    let row = (text(), description, hashtags, time(), any::<Option<i32>>(), text(), time());
    let row = row.prop_map(|(title, description, hashtags, created_at, width, body, at)| Row {
        title,
        description,
        hashtags,
        created_at,
        width,
        body,
        commented_at: at,
    });
    vec(row, 1..6)
}

fn quoted(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Returns the SQL of a time of [`rows`].
fn sql_time(time: &str) -> String {
    if time.contains(" us") {
        format!("timestamptz 'epoch' + interval '{time}'")
    } else {
        format!("timestamptz '{time}'")
    }
}

/// Checks that a time is RFC 3339 or null.
fn check_time(time: &Value) {
    if let Some(text) = time.as_str() {
        OffsetDateTime::parse(text, &Rfc3339).unwrap();
    } else {
        assert_eq!(*time, Value::Null);
    }
}

#[test]
fn any_rows_lead_to_a_ready_request_with_valid_documents() {
    scenario(async |s| {
        let config =
            Config { rng_seed: RngSeed::Fixed(3), failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new(config);
        for _ in 0..REQUESTS {
            let rows = rows().new_tree(&mut runner).unwrap().current();
            let mut posts = Vec::new();
            for row in &rows {
                let mut sets = String::new();
                write!(sets, "title = {}, ", quoted(&row.title)).unwrap();
                let description = row.description.as_deref().map_or("NULL".to_owned(), quoted);
                write!(sets, "description = {description}, hashtags = {}, ", row.hashtags).unwrap();
                let width = row.width.map_or("NULL".to_owned(), |width| width.to_string());
                let time = sql_time(&row.created_at);
                write!(sets, "width = {width}, created_at = {time}").unwrap();
                let post = artwork(&s, "odd", &sets).await;
                let insert = format!(
                    "INSERT INTO comments (post_id, body, created_at) VALUES ({post}, {}, {})",
                    quoted(&row.body),
                    sql_time(&row.commented_at)
                );
                s.database.batch_execute(&insert).await.unwrap();
                posts.push(post);
            }
            let zip = process(&s, &posts).await;
            let artworks = zip.json("metadata.json")["artworks"].clone();
            assert_eq!(artworks.as_array().unwrap().len(), rows.len());
            for (artwork, row) in artworks.as_array().unwrap().iter().zip(&rows) {
                assert_eq!(artwork["title"], row.title);
                assert_eq!(artwork["description"], json!(row.description));
                assert_eq!(artwork["width"], json!(row.width));
                check_time(&artwork["created_at"]);
            }
            let comments = zip.json("comments.json");
            let comments = comments["comments_by_artwork"].as_object().unwrap();
            let mut bodies: Vec<_> =
                comments.values().map(|comments| comments[0]["body"].as_str().unwrap()).collect();
            let mut expected: Vec<_> = rows.iter().map(|row| row.body.as_str()).collect();
            bodies.sort_unstable();
            expected.sort_unstable();
            assert_eq!(bodies, expected);
            comments.values().for_each(|comments| check_time(&comments[0]["created_at"]));
        }
    });
}

/// A row of `users`.
#[derive(Debug, Clone)]
struct UserRow {
    handle: Option<String>,
    email: Option<String>,
    public_sqid: Option<String>,
}

/// Returns rows of `users` that PostgreSQL can hold, also without the schema's constraints.
fn user_row() -> impl Strategy<Value = UserRow> {
    let odd = || {
        prop_oneof![
            any::<String>(),
            "[\u{1}-\u{1f}\"\\\\<&\u{202e}\u{2028}\u{1f600}]{1,20}",
            Just("../../../etc/passwd".to_owned()),
        ]
        .prop_map(|text| text.replace('\0', ""))
    };
    let handle = prop_oneof![odd(), Just(String::new()), Just("ö".repeat(5_000))];
    let email = prop_oneof![
        odd(),
        select(vec![
            "",
            "   ",
            "null",
            "@",
            "noa@",
            "noa@bücher.example",
            " noa@x.org\r\nBcc: b@x.org"
        ])
        .prop_map(str::to_owned),
        "[a-z]{5,8}@[a-zà-ÿ]{1,20}\\.example",
        Just(format!("{}@example.org", "n".repeat(10_000))),
    ];
    // `varchar(16)`.
    let public_sqid = prop_oneof![
        odd().prop_map(|text| text.chars().take(16).collect()),
        select(vec![
            "",
            "/",
            "..",
            "../bdr",
            "a/b",
            "..%2f",
            "Ümlaut",
            "\u{202e}abc",
            "a b",
            "nul\n"
        ])
        .prop_map(str::to_owned),
        "[A-Za-z0-9]{1,16}",
        "[a-z/.\\\\]{16}",
    ];
    let row = (option::of(handle), option::of(email), option::of(public_sqid));
    row.prop_map(|(handle, email, public_sqid)| UserRow { handle, email, public_sqid })
}

#[test]
fn any_users_lead_to_a_settled_request_with_valid_documents() {
    scenario_apart(async |s| {
        let constraints = "ALTER TABLE users DROP CONSTRAINT users_handle_key,
                                             DROP CONSTRAINT users_public_sqid_key,
                                             ALTER handle DROP NOT NULL, ALTER email DROP NOT NULL";
        s.database.batch_execute(constraints).await.unwrap();
        let author = seed::User { handle: "author".into(), ..seed::User::default() };
        let author_id = author.insert(&s.database).await.unwrap();
        let post = s.artwork(Artwork::default()).await;
        comment(&s, post, "hello", "2025-01-01").await;
        let update = "UPDATE comments SET author_id = $1";
        s.database.execute(update, &[&author_id]).await.unwrap();

        let config =
            Config { rng_seed: RngSeed::Fixed(5), failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new(config);
        let alphabet = [("SQIDS_ALPHABET", "abcdefghijklmnopqrstuvwxyz0123456789")];
        let worker = s.worker(&alphabet).await;
        let (mut ready, mut failed) = (0, 0);
        for _ in 0..USERS {
            let (artist, author) =
                (user_row(), user_row()).new_tree(&mut runner).unwrap().current();
            for (id, row) in [(s.user_id, &artist), (author_id, &author)] {
                if let Some(email) = row.email.as_deref().filter(|email| email.len() > 10) {
                    s.secrets.add(email);
                }
                let update =
                    "UPDATE users SET handle = $2, email = $3, public_sqid = $4 WHERE id = $1";
                s.database
                    .execute(update, &[&id, &row.handle, &row.email, &row.public_sqid])
                    .await
                    .unwrap();
            }
            let request = seed::Request {
                user_id: s.user_id,
                post_ids: vec![post],
                include_comments: true,
                send_email: true,
                ..seed::Request::default()
            };
            let bdr_id = request.insert(&s.database).await.unwrap();
            worker.receive(bdr_id).await;
            let row = s.row(bdr_id).await;
            let public_sqid = artist.public_sqid.as_deref().unwrap_or_default();
            let has_sqid = public_sqid.is_empty() || Sqid::parse(public_sqid).is_some();
            if !has_sqid {
                failed += 1;
                assert_eq!(row["status"], "failed", "{artist:?}");
                assert!(!row["error_message"].as_str().unwrap().is_empty());
                continue;
            }
            ready += 1;
            assert_eq!(row["status"], "ready", "{artist:?} {author:?}: {}", s.log.outcome());
            let key = row["file_path"].as_str().unwrap();
            let object = s.s3.get_object().bucket(s.bucket()).key(key).send().await.unwrap();
            let zip = ZipFile { bytes: object.body.collect().await.unwrap().to_vec() };
            let handle = zip.json("metadata.json")["user_handle"].clone();
            assert_eq!(handle, artist.handle.unwrap_or_default());
            let comments = zip.json("comments.json");
            let comments = comments["comments_by_artwork"].as_object().unwrap();
            let handle = &comments.values().next().unwrap()[0]["author_handle"];
            assert_eq!(*handle, author.handle.unwrap_or_else(|| "anonymous".to_owned()));
        }
        assert!(ready > 0 && failed > 0, "{ready} ready, {failed} failed");
        assert!(!s.log.text().contains("panicked"), "{}", s.log.text());
        let listing = s.s3.list_objects_v2().bucket(s.bucket()).send().await.unwrap();
        let artworks = format!("{}/", s.user_sqid);
        for object in listing.contents() {
            let key = object.key().unwrap();
            let parts: Vec<_> = key.split('/').collect();
            let is_archive = matches!(parts[..], ["bdr", sqid, _] if Sqid::parse(sqid).is_some());
            assert!(is_archive || key.starts_with(&artworks), "{key}");
        }
    });
}

#[test]
fn an_artist_with_an_unreadable_handle_gets_an_archive() {
    scenario_apart(async |s| {
        let post = s.artwork(Artwork::default()).await;
        comment(&s, post, "hello", "2025-01-01").await;
        // As in `an_unreadable_row_is_one_missing_artwork`.
        let handle = r"CREATE CAST (bytea AS text) WITHOUT FUNCTION;
                       UPDATE users SET handle = '\xff'::bytea::text";
        s.database.batch_execute(handle).await.unwrap();
        let zip = process(&s, &[post]).await;
        assert_eq!(zip.json("metadata.json")["user_handle"], "");
        let comments = zip.json("comments.json").to_string();
        assert!(comments.contains(r#""author_handle":"anonymous""#), "{comments}");
    });
}

#[test]
fn an_ordinary_time_is_kept() {
    scenario(async |s| {
        let created_at = datetime!(2024-02-29 23:59:58.123456 UTC);
        let post = s.artwork(Artwork { created_at, ..Artwork::default() }).await;
        let zip = process(&s, &[post]).await;
        assert_eq!(members(&zip, "created_at"), ["2024-02-29T23:59:58.123456Z"]);
    });
}

#[test]
fn comments_beyond_the_memory_fail_the_request_with_a_reason() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        comment(&s, post, &"0123456789".repeat(20), "2025-01-01").await;
        let request = seed::Request {
            user_id: s.user_id,
            post_ids: vec![post],
            include_comments: true,
            ..seed::Request::default()
        };
        let bdr_id = request.insert(&s.database).await.unwrap();
        let mut worker = s.worker(&[]).await;
        let memory = Memory { max_document_bytes: 100, ..Memory::plan(512 * MIB, 64 * MIB) };
        worker.handler.job.archiver.fetcher = Fetcher::new(
            Vault::new(shared::aws::s3(&s.aws, true), s.bucket()),
            Arc::new(Remote::new(Web::default(), HashSet::new())),
            memory,
        );
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        let row = s.row(bdr_id).await;
        let message = "These artworks have too many comments for one download. Please request \
                       fewer artworks at once, or leave the comments out.";
        assert_eq!((&row["status"], &row["error_message"]), (&json!("failed"), &json!(message)));
        assert_eq!(s.open_uploads().await, 0);
    });
}

#[test]
fn comments_follow_the_order_of_the_request_and_of_time() {
    scenario(async |s| {
        let mut posts = Vec::new();
        for _ in 0..3 {
            posts.push(s.artwork(Artwork::default()).await);
        }
        let order = [posts[2], posts[0], posts[1]];
        for (body, time) in [("4", "2025-01-04"), ("3", "2025-01-03"), ("5", "infinity")] {
            for post in posts.iter().take(2) {
                comment(&s, *post, body, time).await;
            }
        }
        let zip = process(&s, &order).await;
        let text = String::from_utf8(zip.content("comments.json")).unwrap();
        let bodies: Vec<_> = text.lines().filter(|line| line.contains("\"body\"")).collect();
        let expected =
            ["3", "4", "5", "3", "4", "5"].map(|body| format!("        \"body\": \"{body}\","));
        assert_eq!(bodies, expected);
        let sqids = members(&zip, "sqid");
        let at = |sqid: &Value| text.find(&format!("    {sqid}: ["));
        assert_eq!(at(&sqids[0]), None, "an artwork without comments is left out");
        assert!(at(&sqids[1]).unwrap() < at(&sqids[2]).unwrap(), "{text}");
    });
}
