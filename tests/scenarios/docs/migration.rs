//! `docs/migrating-from-celery.md`: its commands and snippets, step by step, as the page prints them. What
//! touches the site's tables runs on those of August 2026 and on those of the specification.

use std::collections::BTreeSet;
use std::path::Path;

use aws_sdk_sqs::types::MessageSystemAttributeName;
use bdr_tests::doc_commands::{self, CHECKED, ON_THE_LOCAL_STACK, run};
use bdr_tests::in_process::{Cleaner, now, presign};
use bdr_tests::scenario::unique;
use bdr_tests::{Delivery, Scenario, scenario_apart};
use serde_json::{Value, json};
use shared::clock::Clock;
use tempfile::TempDir;
use uuid::Uuid;

use super::api_client::snippets;
use super::pages::MIGRATION;
use crate::adapters::site::{Schema, Site};

const REACH: &str = "## 1. Make the database reachable";
const DEPLOY: &str = "## 2. Deploy and pause the queue";
const COPY: &str = "## 3. Copy the artworks";
const SIDE_BY_SIDE: &str = "## 4. Run side by side";
const SWITCH: &str = "## 5. Switch over";
const DISK_PATHS: &str = "### If `file_path` is an absolute path";
const BACK: &str = "## Return to Celery";

/// The content of a ZIP that the old worker completed.
const OLD_ZIP: &[u8] = b"the old worker's";
/// The prefix of the site's own URLs in the page's `vault_urls`.
const VAULT_URL: &str = "https://vault.example.org/";

/// Runs a test on the tables of August 2026, then on those of the specification.
fn on_each_schema(test: &impl AsyncFn(&Site)) {
    for schema in [Schema::Makapix2026, Schema::Specification] {
        scenario_apart(async |s| test(&Site::create(s, schema).await).await);
    }
}

fn sh(heading: &str, place: usize) -> &'static str {
    doc_commands::blocks(MIGRATION.text, heading, "sh")[place]
}

/// Runs a block as the owner of the tables, with this vault and the scenario's bucket and queue.
async fn run_locally(site: &Site, vault: &Path, queue: &str, block: &str) -> String {
    let first = sh(DEPLOY, 0);
    let (vault, bucket, owner) = (vault.display(), site.s.bucket(), &site.owner_url);
    let names = format!("vault='{vault}' bucket='{bucket}' queue='{queue}' DATABASE_URL='{owner}'");
    run(&site.s, &format!("{ON_THE_LOCAL_STACK}\n{first}\n{names}\n{block}\n")).await
}

fn write(vault: &TempDir, path: &str, bytes: &[u8]) {
    let path = vault.path().join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

async fn object(s: &Scenario, key: &str) -> Option<Vec<u8>> {
    let answer = s.s3.get_object().bucket(s.bucket()).key(key).send().await.ok()?;
    Some(answer.body.collect().await.unwrap().to_vec())
}

/// Returns the keys of all objects.
async fn all_keys(s: &Scenario) -> BTreeSet<String> {
    let answer = s.s3.list_objects_v2().bucket(s.bucket()).send().await.unwrap();
    answer.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
}

/// Inserts an artwork without a file in the bucket; returns its id and its key.
async fn artwork(site: &Site, sqid: &str) -> (i64, String) {
    let id = site.artwork(sqid, None).await;
    let view = if site.schema == Schema::Makapix2026 { "makapix_bdr.posts" } else { "posts" };
    let art_url = format!("SELECT art_url::text FROM {view} WHERE id::bigint = $1");
    let art_url: String = site.s.database.query_one(&art_url, &[&id]).await.unwrap().get(0);
    (id, art_url.strip_prefix("/vault/").unwrap().to_owned())
}

/// Inserts a request for one artwork that is in the bucket.
async fn request(site: &Site) -> Uuid {
    site.request(&[site.artwork(&unique("a"), Some(b"pixels")).await]).await
}

/// Inserts a request that the old worker made `ready`, with its ZIP on the disk.
async fn made_by_celery(site: &Site, vault: &TempDir) -> Uuid {
    let bdr_id = site.request(&[1]).await;
    let key = site.s.archive_key(bdr_id);
    write(vault, &key, OLD_ZIP);
    let ready = format!(
        "status = 'ready', file_path = '{key}', file_size_bytes = {}, started_at = now(),
         completed_at = now(), expires_at = now() + interval '7 days'",
        OLD_ZIP.len()
    );
    site.s.set(bdr_id, &ready).await;
    bdr_id
}

/// Returns the status and the body at the URL that the API receives for a download.
async fn download(site: &Site, bdr_id: Uuid) -> (u16, Vec<u8>) {
    let question = json!({"bdr_id": bdr_id, "user_id": site.artist});
    let answer = presign(&site.s, &[], question).await.unwrap();
    let url = answer["url"].as_str().expect("the answer is ok");
    let answer = local_stack::http::client().unwrap().get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
}

#[test]
fn a_private_authority_is_packed_with_each_function() {
    scenario_apart(async |s| {
        let packages = r#"
            artifacts=target/release-artifacts/arm64
            mkdir -p "$artifacts"
            touch bootstrap
            for name in one two; do zip -q "$artifacts/$name.zip" bootstrap; done
            (umask 077; echo authority > db-ca.pem)"#;
        let look = r#"for name in one two; do unzip -Z "$artifacts/$name.zip"; done"#;
        let listing = run(&s, &format!("{packages}\n{}\n{look}", sh(REACH, 0))).await;
        let packed = |line: &&str| line.starts_with("-rw-r--r--") && line.ends_with(" db-ca.pem");
        assert_eq!(listing.lines().filter(packed).count(), 2, "{listing}");
        assert_eq!(listing.matches(" bootstrap").count(), 2, "{listing}");
    });
}

#[test]
fn the_commands_that_pause_and_resume_the_queue_are_valid() {
    scenario_apart(async |s| {
        for block in [sh(DEPLOY, 1), sh(COPY, 1)] {
            run(&s, &format!("{CHECKED}\n{block}")).await;
        }
    });
}

#[test]
fn the_rows_of_the_old_worker_end_as_the_page_says() {
    let (_, days) = MIGRATION.text.split_once("Set `PurgeAfterDays=").unwrap();
    let (days, _) = days.split_once('`').unwrap();
    on_each_schema(&async |site| {
        let (s, vault) = (&site.s, tempfile::tempdir().unwrap());
        let old = async |days: u32, assignments: &str| {
            let bdr_id = made_by_celery(site, &vault).await;
            let days = format!("now() - interval '{days} days'");
            let times = format!("created_at = {days}, completed_at = {days}, started_at = {days}");
            s.set(bdr_id, &format!("{times}, {assignments}")).await;
            bdr_id
        };
        let closed = "file_path = NULL, file_size_bytes = NULL";
        let failed =
            format!("status = 'failed', error_message = 'Traceback', expires_at = NULL, {closed}");
        let expired = |days: u32| {
            format!("status = 'expired', expires_at = now() - interval '{days} days', {closed}")
        };
        let processing = format!("status = 'processing', expires_at = NULL, {closed}");
        let gone = [old(15, &failed).await, old(22, &expired(15)).await];
        let kept = [old(13, &failed).await, old(20, &expired(13)).await];
        let dead = old(2, &processing).await;
        let over = made_by_celery(site, &vault).await;
        s.set(over, "expires_at = now() - interval '1 second'").await;

        let cleaner = Cleaner::new(s, &[("PURGE_AFTER_DAYS", days)]).await;
        let report = cleaner.run(json!({})).await.unwrap();
        assert_eq!((&report["purged"], &report["errors"]), (&json!(2), &Value::Null));
        let count = "SELECT count(*) FROM batch_download_requests WHERE id = ANY ($1)";
        let left = s.database.query_one(count, &[&gone.as_slice()]).await.unwrap();
        assert_eq!(left.get::<_, i64>(0), 0);
        assert_eq!(s.row(kept[1]).await["status"], "expired");
        assert_eq!(s.row(dead).await["status"], "failed");
        assert_eq!(s.row(over).await["status"], "expired");
        assert!(vault.path().join(s.archive_key(over)).exists());

        assert_eq!(site.worker().await.receive(kept[0]).await, Delivery::Acknowledged);
        let row = s.row(kept[0]).await;
        assert_eq!(
            (&row["status"], &row["error_message"]),
            (&json!("failed"), &json!("Traceback"))
        );
        assert_eq!(s.emails().await.len(), 0);
    });
}

/// Runs the page's `copy-artworks.sh`. Returns whether it succeeds, and its output and errors.
async fn copy(site: &Site, vault: &Path, names: &str) -> (bool, String) {
    // A subshell in the background, because bash ignores `set -e` in a condition.
    let script = format!("{names}\n( {} ) 2>&1 &\nwait $! || echo FAILED", sh(COPY, 0));
    let printed = run_locally(site, vault, "", &script).await;
    (!printed.contains("FAILED"), printed)
}

#[test]
fn the_files_that_the_functions_read_are_copied_and_no_others() {
    on_each_schema(&async |site| {
        let (s, vault) = (&site.s, tempfile::tempdir().unwrap());
        let mut artworks = vec![];
        // The last one has no file. Sqids of even and of odd length: with and without a shard.
        for prefix in ["a", "ab", "a", "a"] {
            artworks.push(artwork(site, &unique(prefix)).await);
        }
        let (ids, keys): (Vec<i64>, Vec<String>) = artworks.into_iter().unzip();
        for key in &keys[..3] {
            let stem = key.strip_suffix(".png").unwrap();
            for file in [key, &format!("{stem}.webp"), &format!("{stem}_upscaled.webp")] {
                write(&vault, file, file.as_bytes());
            }
        }
        for other in ["mkpx/x.mkpx", "avatar/x.png", "blog_image/x.png", "bdr/u/old.zip"] {
            write(&vault, other, b"not an artwork");
        }
        if site.schema == Schema::Specification {
            let url = "UPDATE posts SET art_url = $1::text || $2::text WHERE id::bigint = $3";
            s.database.execute(url, &[&VAULT_URL, &keys[0], &ids[0]]).await.unwrap();
        }
        s.put("bdr/u/kept.zip", b"an archive").await;
        let stored = |keys: &[&String]| -> BTreeSet<String> {
            keys.iter().map(|key| (*key).clone()).chain(["bdr/u/kept.zip".to_owned()]).collect()
        };

        let (succeeds, printed) = copy(site, vault.path(), "").await;
        assert!(succeeds && printed.contains(&keys[3]), "{printed}");
        assert_eq!(all_keys(s).await, stored(&[&keys[0], &keys[1], &keys[2]]));
        for key in &keys[..3] {
            assert_eq!(object(s, key).await.unwrap(), key.as_bytes());
        }
        let bdr_id = site.request(&ids).await;
        let worker = s.worker(&[("VAULT_URL_PREFIXES", VAULT_URL)]).await;
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(s.row(bdr_id).await["status"], "ready");
        let zip = s.archive(bdr_id).await.unwrap();
        assert_eq!(zip.json("metadata.json")["artworks"].as_array().unwrap().len(), 3);
        s.s3.delete_object().bucket(s.bucket()).key(s.archive_key(bdr_id)).send().await.unwrap();

        // The site deletes an artwork, changes another and adds a third.
        s.database.execute("DELETE FROM posts WHERE id::bigint = $1", &[&ids[1]]).await.unwrap();
        write(&vault, &keys[2], b"drawn again");
        let (_, new) = artwork(site, &unique("a")).await;
        write(&vault, &new, b"drawn since");
        let (succeeds, printed) = copy(site, vault.path(), "").await;
        assert!(succeeds, "{printed}");
        assert_eq!(object(s, &keys[2]).await.unwrap(), b"drawn again");
        let with_young = stored(&[&keys[0], &keys[1], &keys[2], &new]);
        assert_eq!(all_keys(s).await, with_young, "an object younger than an hour stays");

        let later = "date() { command date -u -d tomorrow +%FT%T; }";
        let (succeeds, printed) = copy(site, Path::new("/vault-that-is-not-mounted"), later).await;
        assert!(!succeeds, "{printed}");
        assert_eq!(all_keys(s).await, with_young);
        let (succeeds, printed) = copy(site, vault.path(), later).await;
        assert!(succeeds, "{printed}");
        let copied = stored(&[&keys[0], &keys[2], &new]);
        assert_eq!(all_keys(s).await, copied);

        s.database.execute("DELETE FROM posts", &[]).await.unwrap();
        let (succeeds, printed) = copy(site, vault.path(), later).await;
        assert!(!succeeds, "{printed}");
        assert_eq!(all_keys(s).await, copied);
    });
}

#[test]
fn a_key_that_leaves_the_vault_or_is_an_archive_is_not_copied() {
    on_each_schema(&async |site| {
        let (s, folder) = (&site.s, tempfile::tempdir().unwrap());
        let vault = folder.path().join("vault");
        let mut good = String::new();
        for shard in ["8c", "..", "8c/..", "bdr/u", "/bdr/u"] {
            let (id, key) = artwork(site, &unique("ab")).await;
            let (_, file) = key.rsplit_once('/').unwrap_or(("", &key));
            let key = format!("{shard}/{file}");
            write(&folder, &format!("vault/{key}"), b"secret");
            let update = match site.schema {
                Schema::Specification => "UPDATE posts SET art_url = '/vault/' || $1::text",
                _ => "UPDATE posts SET storage_shard = $1::text",
            };
            let value = if site.schema == Schema::Specification { &*key } else { shard };
            let update = format!("{update} WHERE id::bigint = $2");
            s.database.execute(&update, &[&value, &id]).await.unwrap();
            if shard == "8c" {
                good = key;
            }
        }
        let (succeeds, printed) = copy(site, &vault, "").await;
        assert!(succeeds, "{printed}");
        assert_eq!(all_keys(s).await, BTreeSet::from([good]));
    });
}

#[test]
fn the_site_stores_a_new_file_in_both_places() {
    scenario_apart(async |s| {
        let vault = tempfile::tempdir().unwrap();
        write(&vault, "24/07/x.png", b"pixels");
        let (bucket, folder) = (s.bucket(), vault.path().display());
        let call = |bucket: &str| format!("store('{bucket}', '{folder}', '24/07/x.png')");
        let calls = format!("{}\n{}\nprint('went on')", call(bucket), call("absent-bucket"));
        assert_eq!(python(&s, COPY, &calls).await, "went on");
        assert_eq!(object(&s, "24/07/x.png").await.unwrap(), b"pixels");
    });
}

/// Runs the client's Python, the page's Python under this heading, then these lines.
async fn python(s: &Scenario, heading: &str, lines: &str) -> String {
    let client = snippets("python").concat();
    let page = doc_commands::blocks(MIGRATION.text, heading, "python").concat();
    let script = format!("{client}\n{page}\n{lines}");
    doc_commands::python(s, &script).await.unwrap()
}

#[test]
fn side_by_side_each_artist_has_one_system_and_each_archive_is_found() {
    on_each_schema(&async |site| {
        let (s, vault) = (&site.s, tempfile::tempdir().unwrap());
        let queue = s.sqs.create_queue().queue_name(unique("m")).send().await.unwrap();
        let queue = queue.queue_url.unwrap();
        let old = made_by_celery(site, &vault).await;
        let new = request(site).await;
        site.worker().await.receive(new).await;

        // The deployed function uses another database, so the test looks at the question only.
        let printed = python(
            s,
            SIDE_BY_SIDE,
            &format!(
                r#"
from types import SimpleNamespace as Row
download_url = lambda function, bdr_id, user_id: f"asked {{function}} for {{bdr_id}} of {{user_id}}"
vault = Path("{vault}")
row = lambda bdr_id, **more: Row(**{{"id": bdr_id, "user_id": 7, "status": "ready",
                                    "file_path": f"bdr/{user}/{{bdr_id}}.zip", **more}})
print(location(vault, "presign", row("{old}"), 7))
print(location(vault, "presign", row("{new}"), 7))
print(location(vault, "presign", row("{old}"), 8))
print(location(vault, "presign", row("{old}", status="expired", file_path=None), 7))
for user in (7, 107, 49, 50, 99):
    start("{queue}", 50, row(f"{{user:08}}-0000-4000-8000-000000000000", user_id=user),
          lambda bdr_id: print("delayed", int(bdr_id[:8])))
"#,
                vault = vault.path().display(),
                user = s.user_sqid,
            ),
        )
        .await;
        let file = vault.path().join(s.archive_key(old));
        let expected = [
            file.display().to_string(),
            format!("asked presign for {new} of 7"),
            format!("asked presign for {old} of 8"),
            format!("asked presign for {old} of 7"),
            "delayed 50".to_owned(),
            "delayed 99".to_owned(),
        ];
        assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
        let mut groups: Vec<String> =
            published(s, &queue).await.into_iter().map(|(_, group)| group).collect();
        groups.sort();
        assert_eq!(groups, ["107", "49", "7"]);

        // The page warns of this, for a ZIP that exists on the disk alone. S3 itself responds 403,
        // because the role of presign-bdr-download has no s3:ListBucket.
        assert_eq!(download(site, old).await.0, 404);
        assert_eq!(download(site, new).await.0, 200);
    });
}

/// Returns the requests that have a message in this queue, each with its `MessageGroupId`.
async fn published(s: &Scenario, queue: &str) -> Vec<(Uuid, String)> {
    let mut found = vec![];
    loop {
        let receive = s.sqs.receive_message().queue_url(queue).max_number_of_messages(10);
        let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
        let messages = receive.send().await.unwrap().messages.unwrap_or_default();
        if messages.is_empty() {
            return found;
        }
        for message in messages {
            let body: Value = serde_json::from_str(message.body().unwrap()).unwrap();
            let bdr_id = body["bdr_id"].as_str().unwrap().parse().unwrap();
            let group = &message.attributes().unwrap()[&MessageSystemAttributeName::MessageGroupId];
            found.push((bdr_id, group.clone()));
        }
    }
}

#[test]
fn either_cleanup_handles_the_rows_of_both_systems() {
    on_each_schema(&async |site| {
        let (s, vault) = (&site.s, tempfile::tempdir().unwrap());
        let over = "expires_at = now() - interval '1 second'";
        let old = made_by_celery(site, &vault).await;
        s.set(old, over).await;
        // The cleanup of beat finds no file for this request, and marks the row expired.
        let new = request(site).await;
        site.worker().await.receive(new).await;
        s.set(new, "status = 'expired', file_path = NULL, file_size_bytes = NULL").await;

        let mut cleaner = Cleaner::new(s, &[]).await;
        cleaner.handler.cleanup.clock = Clock::fixed(now() + std::time::Duration::from_hours(25));
        let report = cleaner.run(json!({})).await.unwrap();
        assert_eq!((&report["cleaned_up"], &report["orphans_deleted"]), (&json!(1), &json!(1)));
        assert_eq!(report["errors"], Value::Null);
        assert_eq!(s.row(old).await["status"], "expired");
        assert!(s.archive(new).await.is_none());
    });
}

#[test]
fn requests_in_flight_at_the_switch_end_ready_and_whole() {
    on_each_schema(&async |site| {
        let (s, vault) = (&site.s, tempfile::tempdir().unwrap());
        let queue = s.sqs.create_queue().queue_name(unique("m")).send().await.unwrap();
        let queue = queue.queue_url.unwrap();
        let (waiting, cut_off) = (request(site).await, request(site).await);
        s.set(cut_off, "status = 'processing', started_at = now()").await;
        write(&vault, &s.archive_key(cut_off), b"half of a ZIP");
        let (kept, over) = (made_by_celery(site, &vault).await, made_by_celery(site, &vault).await);
        s.set(over, "expires_at = now() - interval '1 second'").await;

        run_locally(site, vault.path(), &queue, sh(SWITCH, 0)).await;
        let mut in_flight = published(s, &queue).await;
        in_flight.sort();
        let group = site.artist.to_string();
        let mut expected = [(waiting, group.clone()), (cut_off, group)];
        expected.sort();
        assert_eq!(in_flight, expected);

        run_locally(site, vault.path(), &queue, sh(SWITCH, 1)).await;
        for (bdr_id, _) in in_flight {
            assert_eq!(
                object(s, &s.archive_key(bdr_id)).await,
                None,
                "the function cannot adopt half a ZIP"
            );
            assert_eq!(site.worker().await.receive(bdr_id).await, Delivery::Acknowledged);
            assert_eq!(s.row(bdr_id).await["status"], "ready");
            assert_eq!(download(site, bdr_id).await, (200, s.archive(bdr_id).await.unwrap().bytes));
        }
        assert_eq!(download(site, kept).await, (200, OLD_ZIP.to_vec()));
        assert_eq!(object(s, &s.archive_key(over)).await, None);

        run_locally(site, vault.path(), &queue, sh(SWITCH, 2)).await;
        assert!(!vault.path().join("bdr").exists());
        assert!(vault.path().exists());
    });
}

#[test]
fn an_absolute_path_is_left_alone_until_it_becomes_a_key() {
    on_each_schema(&async |site| {
        let (s, vault) = (&site.s, tempfile::tempdir().unwrap());
        let bdr_id = made_by_celery(site, &vault).await;
        s.put(&s.archive_key(bdr_id), OLD_ZIP).await;
        s.set(bdr_id, "file_path = '/vault/' || file_path").await;
        let question = json!({"bdr_id": bdr_id, "user_id": site.artist});
        assert!(presign(s, &[], question).await.is_err());
        s.set(bdr_id, "expires_at = now() - interval '1 second'").await;
        let cleaner = Cleaner::new(s, &[]).await;
        let report = cleaner.run(json!({"only": ["expire"]})).await.unwrap();
        assert_eq!(report["errors"][0]["bdr_id"], json!(bdr_id));
        assert_eq!(s.row(bdr_id).await["status"], "ready");

        s.set(bdr_id, "expires_at = now() + interval '1 day'").await;
        run_locally(site, vault.path(), "", sh(DISK_PATHS, 0)).await;
        assert_eq!(download(site, bdr_id).await, (200, OLD_ZIP.to_vec()));
    });
}

#[test]
fn returning_copies_artworks_and_archives_to_the_disk() {
    on_each_schema(&async |site| {
        let (s, vault) = (&site.s, tempfile::tempdir().unwrap());
        let old = made_by_celery(site, &vault).await;
        s.put("8c/new.png", b"drawn since").await;
        let new = request(site).await;
        site.worker().await.receive(new).await;
        run_locally(site, vault.path(), "", sh(BACK, 0)).await;
        let on_disk = |path: &str| std::fs::read(vault.path().join(path)).unwrap();
        assert_eq!(on_disk("8c/new.png"), b"drawn since");
        assert_eq!(on_disk(&s.archive_key(old)), OLD_ZIP);
        let zip = s.archive(new).await.unwrap().bytes;
        let row = s.row(new).await;
        assert_eq!(on_disk(row["file_path"].as_str().unwrap()), zip);
    });
}
