//! The site's own migrations pass while an adapter's views are in place, and the plans of the functions'
//! statements are those of the tables.

use bdr_tests::{Delivery, scenario};
use process_bdr_job::load::{COMMENTS, POSTS, REACTIONS};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls};

use super::site::{Schema, Site};

#[test]
fn the_sites_migrations_pass_and_requests_succeed_after_them() {
    scenario(async |s| {
        let site = Site::create(s, Schema::Makapix2026).await;
        let artwork = site.artwork("aa", Some(b"pixels")).await;
        let before = site.request(&[artwork]).await;
        let worker = site.worker().await;
        assert_eq!(worker.receive(before).await, Delivery::Acknowledged);
        for migration in [
            "ALTER TABLE posts ALTER COLUMN title TYPE text",
            "ALTER TABLE posts ALTER COLUMN hashtags TYPE text[]",
            "ALTER TABLE posts ALTER COLUMN storage_shard TYPE varchar(32)",
            "ALTER TABLE posts ALTER COLUMN width TYPE bigint",
            "ALTER TABLE posts DROP COLUMN updated_at",
            "ALTER TABLE posts ADD COLUMN language text",
            "ALTER TABLE post_files ALTER COLUMN format TYPE text",
            "ALTER TABLE post_files DROP COLUMN file_bytes",
            "ALTER TABLE comments ALTER COLUMN body TYPE text",
            "ALTER TABLE users ALTER COLUMN handle TYPE varchar(80)",
            "ALTER TABLE posts ALTER COLUMN id TYPE bigint",
            "ALTER TABLE post_files ALTER COLUMN post_id TYPE bigint",
            "ALTER TABLE comments ALTER COLUMN post_id TYPE bigint",
        ] {
            let migrated = site.s.database.batch_execute(migration).await;
            migrated.unwrap_or_else(|error| panic!("{migration}: {error:?}"));
            let after = site.request(&[artwork]).await;
            assert_eq!(worker.receive(after).await, Delivery::Acknowledged, "{migration}");
            assert_eq!(site.s.row(after).await["status"], "ready", "{migration}");
        }
    });
}

/// Half a million files of 200,000 posts, and half a million comments.
const MANY: &str = "
    INSERT INTO posts (owner_id, public_sqid, title, hashtags, storage_key, storage_shard, width, height)
    SELECT $1::bigint, 's' || n, 'Untitled', '{pixelart,art}', gen_random_uuid(), '24/07', 64, 64
      FROM generate_series(1, 200000) AS n";
const THEIR_FILES: &str = "
    INSERT INTO post_files (post_id, format, file_bytes, is_native)
    SELECT p.id, f.format, 1000, f.format = 'png'
      FROM posts AS p, unnest(ARRAY['gif', 'png', 'webp']) AS f (format);
    INSERT INTO comments (id, post_id, body)
    SELECT gen_random_uuid(), p.id, 'a comment' FROM posts AS p, generate_series(1, 2);
    INSERT INTO reactions (post_id, emoji) SELECT p.id, '🔥' FROM posts AS p, generate_series(1, 2);
    ANALYZE posts, post_files, comments, reactions";

/// What an adopter without views would write.
const DIRECT: &str = "
    SELECT p.id, p.public_sqid, p.title, p.description, to_json(p.hashtags)::text, p.storage_key,
           (SELECT f.format FROM public.post_files AS f WHERE f.post_id = p.id AND f.is_native),
           p.width, p.height, p.frame_count, p.created_at
      FROM public.posts AS p
     WHERE p.id = ANY ($1)";

/// Executes a statement, and returns its plan with the pages that it read.
async fn explain(client: &Client, statement: &str, ids: &Vec<i64>) -> (String, u64) {
    let sql = format!("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF) {statement}");
    let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(ids, Type::INT8_ARRAY)];
    let plan = client.query_typed(&sql, &parameters).await.unwrap();
    let lines: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let buffers = lines.iter().find(|line| line.contains("Buffers:")).unwrap();
    let pages = buffers.split([' ', '=']).filter_map(|word| word.parse::<u64>().ok()).sum();
    (lines.join("\n"), pages)
}

#[test]
fn through_the_views_the_statements_use_the_tables_indexes() {
    scenario(async |s| {
        let site = Site::create(s, Schema::Makapix2026).await;
        let s = &site.s;
        s.database.execute(MANY, &[&site.artist]).await.unwrap();
        s.database.batch_execute(THEIR_FILES).await.unwrap();
        let (role, connection) = tokio_postgres::connect(&s.database_url, NoTls).await.unwrap();
        tokio::spawn(connection);
        for count in [128, 5_000] {
            let ids: Vec<i64> = (1..=count).map(|n| n * 39).collect();
            let _warm_up = explain(&s.database, DIRECT, &ids).await;
            let (direct, pages) = explain(&s.database, DIRECT, &ids).await;
            let (plan, pages_by_view) = explain(&role, POSTS, &ids).await;
            for index in ["posts_pkey", "post_files"] {
                assert!(plan.contains(index), "{count}: {index} is not in\n{plan}");
            }
            assert!(
                !plan.contains("Seq Scan") && !plan.contains("Function Scan"),
                "{count}:\n{plan}"
            );
            assert!(!direct.contains("Seq Scan"), "{count}:\n{direct}");
            // The view may read a page more for each unused format than the direct query.
            assert!(
                pages_by_view <= pages * 2,
                "{count}: {pages_by_view} pages, not {pages}\n{plan}"
            );
        }
        let ids: Vec<i64> = (1..=128).map(|n| n * 39).collect();
        for (statement, index) in
            [(COMMENTS, "comments_post_created"), (REACTIONS, "reactions_post_emoji")]
        {
            let (plan, _) = explain(&role, statement, &ids).await;
            assert!(plan.contains(index), "{plan}");
            for table in ["posts", "post_files", "comments", "reactions"] {
                assert!(!plan.contains(&format!("Seq Scan on {table}")), "{plan}");
            }
        }
    });
}

#[test]
fn a_column_that_moderators_use_is_read_as_soon_as_it_exists() {
    scenario(async |s| {
        let site = Site::create(s, Schema::Specification).await;
        let worker = site.worker().await;
        let artwork = site.artwork("aa", Some(b"pixels")).await;
        let zip = async || {
            let bdr_id = site.request(&[artwork]).await;
            worker.receive(bdr_id).await;
            site.s.archive(bdr_id).await.unwrap_or_else(|| panic!("{}", site.s.log.text()))
        };
        let mod_hashtags =
            async || zip().await.json("metadata.json")["artworks"][0].get("mod_hashtags").cloned();
        assert_eq!(mod_hashtags().await, None);
        let add = "ALTER TABLE posts ADD mod_hashtags text[] NOT NULL DEFAULT '{checked}'";
        site.s.database.batch_execute(add).await.unwrap();
        assert_eq!(mod_hashtags().await, None, "the role may not read the column yet");
        site.apply("specification.sql").await.unwrap();
        assert_eq!(mod_hashtags().await, Some(serde_json::json!(["checked"])));

        let add =
            "ALTER TABLE posts ADD license text DEFAULT 'CC0', ADD source_url text DEFAULT '/p/aa'";
        site.s.database.batch_execute(add).await.unwrap();
        let artwork_now = async || zip().await.json("metadata.json")["artworks"][0].clone();
        let before = artwork_now().await;
        assert_eq!(before.get("license"), None, "the role may not read the columns yet");
        assert_eq!(before["mod_hashtags"], serde_json::json!(["checked"]));
        site.apply("specification.sql").await.unwrap();
        let after = artwork_now().await;
        assert_eq!((&after["license"], &after["source_url"]), (&"CC0".into(), &"/p/aa".into()));

        let add = "ALTER TABLE comments ADD deleted_by_mod boolean NOT NULL DEFAULT true";
        site.comment(artwork, "a tombstone", super::site::Comment::Visible).await;
        site.s.database.batch_execute(add).await.unwrap();
        let bdr_id = site.request(&[artwork]).await;
        assert_eq!(
            worker.receive(bdr_id).await,
            Delivery::BackLater,
            "the role may not read the column yet"
        );
        assert_eq!(site.s.row(bdr_id).await["status"], "pending");
        site.apply("specification.sql").await.unwrap();
        let comments = zip().await.json("comments.json").to_string();
        assert!(!comments.contains("a tombstone"), "{comments}");
    });
}
