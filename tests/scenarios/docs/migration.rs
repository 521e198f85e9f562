//! `docs/migrating-from-celery.md`: its commands and snippets, step by step, as the page prints them.

use std::path::Path;

use bdr_tests::doc_commands::{self, CHECKED, ON_THE_LOCAL_STACK, run};
use bdr_tests::in_process::{Cleaner, now, presign};
use bdr_tests::scenario::unique;
use bdr_tests::{Artwork, Delivery, Scenario, scenario_apart};
use serde_json::{Value, json};
use shared::clock::Clock;
use tempfile::TempDir;
use uuid::Uuid;

use super::api_client::snippets;
use super::pages::MIGRATION;

const DEPLOY: &str = "## 1. Deploy and pause the queue";
const COPY: &str = "## 2. Copy the artworks";
const SIDE_BY_SIDE: &str = "## 3. Run side by side";
const SWITCH: &str = "## 4. Switch over";
const DISK_PATHS: &str = "### If `file_path` is an absolute path";
const BACK: &str = "## Return to Celery";

/// The content of a ZIP that the old worker completed.
const OLD_ZIP: &[u8] = b"the old worker's";

fn sh(heading: &str, place: usize) -> &'static str {
    doc_commands::blocks(MIGRATION.text, heading, "sh")[place]
}

/// Runs a block with this vault and the scenario's bucket and queue.
async fn run_locally(s: &Scenario, vault: &Path, queue: &str, block: &str) -> String {
    let first = sh(DEPLOY, 0);
    let (vault, bucket) = (vault.display(), s.bucket());
    let names = format!("vault='{vault}' bucket='{bucket}' queue='{queue}'");
    run(s, &format!("{ON_THE_LOCAL_STACK}\n{first}\n{names}\n{block}\n")).await
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

/// Inserts a request that the old worker made `ready`, with its ZIP on the disk.
async fn made_by_celery(s: &Scenario, vault: &TempDir) -> Uuid {
    let bdr_id = s.request(&[1]).await;
    let key = s.archive_key(bdr_id);
    write(vault, &key, OLD_ZIP);
    let ready = format!(
        "status = 'ready', file_path = '{key}', file_size_bytes = {}, started_at = now(),
         completed_at = now(), expires_at = now() + interval '7 days'",
        OLD_ZIP.len()
    );
    s.set(bdr_id, &ready).await;
    bdr_id
}

/// Returns the status and the body at the URL that the API receives for a download.
async fn download(s: &Scenario, bdr_id: Uuid) -> (u16, Vec<u8>) {
    let answer = presign(s, &[], json!({"bdr_id": bdr_id, "user_id": s.user_id})).await.unwrap();
    let url = answer["url"].as_str().expect("the answer is ok");
    let answer = local_stack::http::client().unwrap().get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
}

#[test]
fn the_commands_that_pause_and_resume_the_queue_are_valid() {
    scenario_apart(async |s| {
        for block in [sh(DEPLOY, 1), sh(COPY, 2)] {
            run(&s, &format!("{CHECKED}\n{block}")).await;
        }
    });
}

#[test]
fn artworks_are_copied_and_archives_are_not() {
    scenario_apart(async |s| {
        let vault = tempfile::tempdir().unwrap();
        let files = ["8c/4f/2a/x.png", "8c/4f/2a/größe 1+1=2.gif", "bdrx/not an archive.png"];
        for file in files {
            write(&vault, file, file.as_bytes());
        }
        write(&vault, "bdr/u/old.zip", OLD_ZIP);
        let dry_run = async || run_locally(&s, vault.path(), "", sh(COPY, 1)).await;
        assert_eq!(dry_run().await.lines().count(), files.len());
        run_locally(&s, vault.path(), "", sh(COPY, 0)).await;
        assert_eq!(dry_run().await, "");
        for file in files {
            assert_eq!(object(&s, file).await.unwrap(), file.as_bytes());
        }
        assert_eq!(object(&s, "bdr/u/old.zip").await, None);

        let post = Artwork {
            file: None,
            art_url: Some(Some(format!("/vault/{}", files[1]))),
            file_format: Some("gif"),
            ..Artwork::default()
        };
        let bdr_id = s.request(&[s.artwork(post).await]).await;
        assert_eq!(s.worker(&[]).await.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(s.row(bdr_id).await["status"], "ready");
    });
}

/// Runs the client's Python, the page's Python, then these lines.
async fn python(s: &Scenario, lines: &str) -> String {
    let client = snippets("python").concat();
    let page = doc_commands::blocks(MIGRATION.text, SIDE_BY_SIDE, "python").concat();
    let script = format!("{client}\n{page}\n{lines}");
    doc_commands::python(s, &script).await.unwrap()
}

#[test]
fn side_by_side_each_artist_has_one_system_and_each_archive_is_found() {
    scenario_apart(async |s| {
        let vault = tempfile::tempdir().unwrap();
        let queue = s.sqs.create_queue().queue_name(unique("m")).send().await.unwrap();
        let queue = queue.queue_url.unwrap();
        let old = made_by_celery(&s, &vault).await;
        let new = s.request(&[s.artwork(Artwork::default()).await]).await;
        s.worker(&[]).await.receive(new).await;

        // The deployed function uses another database, so the test looks at the question only.
        let printed = python(
            &s,
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
        assert_eq!(published(&s, &queue).await.len(), 3);

        // The page warns of this, for a ZIP that exists on the disk alone.
        assert_eq!(download(&s, old).await.0, 404);
        assert_eq!(download(&s, new).await.0, 200);
    });
}

/// Returns the requests that have a message in this queue.
async fn published(s: &Scenario, queue: &str) -> Vec<Uuid> {
    let mut found = vec![];
    loop {
        let receive = s.sqs.receive_message().queue_url(queue).max_number_of_messages(10);
        let messages = receive.send().await.unwrap().messages.unwrap_or_default();
        if messages.is_empty() {
            return found;
        }
        for message in messages {
            let body: Value = serde_json::from_str(message.body().unwrap()).unwrap();
            found.push(body["bdr_id"].as_str().unwrap().parse().unwrap());
        }
    }
}

#[test]
fn either_cleanup_handles_the_rows_of_both_systems() {
    scenario_apart(async |s| {
        let vault = tempfile::tempdir().unwrap();
        let over = "expires_at = now() - interval '1 second'";
        let old = made_by_celery(&s, &vault).await;
        s.set(old, over).await;
        // The cleanup of beat finds no file for this request, and marks the row expired.
        let new = s.request(&[s.artwork(Artwork::default()).await]).await;
        s.worker(&[]).await.receive(new).await;
        s.set(new, "status = 'expired', file_path = NULL, file_size_bytes = NULL").await;

        let mut cleaner = Cleaner::new(&s, &[]).await;
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
    scenario_apart(async |s| {
        let vault = tempfile::tempdir().unwrap();
        let queue = s.sqs.create_queue().queue_name(unique("m")).send().await.unwrap();
        let queue = queue.queue_url.unwrap();
        let post = s.artwork(Artwork::default()).await;
        let (waiting, cut_off) = (s.request(&[post]).await, s.request(&[post]).await);
        s.set(cut_off, "status = 'processing', started_at = now()").await;
        write(&vault, &s.archive_key(cut_off), b"half of a ZIP");
        let (kept, over) = (made_by_celery(&s, &vault).await, made_by_celery(&s, &vault).await);
        s.set(over, "expires_at = now() - interval '1 second'").await;

        run_locally(&s, vault.path(), &queue, sh(SWITCH, 0)).await;
        let mut in_flight = published(&s, &queue).await;
        in_flight.sort();
        let mut expected = [waiting, cut_off];
        expected.sort();
        assert_eq!(in_flight, expected);

        run_locally(&s, vault.path(), &queue, sh(SWITCH, 1)).await;
        for bdr_id in in_flight {
            assert_eq!(
                object(&s, &s.archive_key(bdr_id)).await,
                None,
                "the function cannot adopt half a ZIP"
            );
            assert_eq!(s.worker(&[]).await.receive(bdr_id).await, Delivery::Acknowledged);
            assert_eq!(s.row(bdr_id).await["status"], "ready");
            assert_eq!(download(&s, bdr_id).await, (200, s.archive(bdr_id).await.unwrap().bytes));
        }
        assert_eq!(download(&s, kept).await, (200, OLD_ZIP.to_vec()));
        assert_eq!(object(&s, &s.archive_key(over)).await, None);

        run_locally(&s, vault.path(), &queue, sh(SWITCH, 2)).await;
        assert!(!vault.path().join("bdr").exists());
        assert!(vault.path().exists());
    });
}

#[test]
fn an_absolute_path_is_left_alone_until_it_becomes_a_key() {
    scenario_apart(async |s| {
        let vault = tempfile::tempdir().unwrap();
        let bdr_id = made_by_celery(&s, &vault).await;
        s.put(&s.archive_key(bdr_id), OLD_ZIP).await;
        s.set(bdr_id, "file_path = '/vault/' || file_path").await;
        let question = json!({"bdr_id": bdr_id, "user_id": s.user_id});
        assert!(presign(&s, &[], question).await.is_err());
        s.set(bdr_id, "expires_at = now() - interval '1 second'").await;
        let cleaner = Cleaner::new(&s, &[]).await;
        let report = cleaner.run(json!({"only": ["expire"]})).await.unwrap();
        assert_eq!(report["errors"][0]["bdr_id"], json!(bdr_id));
        assert_eq!(s.row(bdr_id).await["status"], "ready");

        s.set(bdr_id, "expires_at = now() + interval '1 day'").await;
        run_locally(&s, vault.path(), "", sh(DISK_PATHS, 0)).await;
        assert_eq!(download(&s, bdr_id).await, (200, OLD_ZIP.to_vec()));
    });
}

#[test]
fn returning_copies_artworks_and_archives_to_the_disk() {
    scenario_apart(async |s| {
        let vault = tempfile::tempdir().unwrap();
        let old = made_by_celery(&s, &vault).await;
        s.put("8c/new.png", b"drawn since").await;
        let new = s.request(&[s.artwork(Artwork::default()).await]).await;
        s.worker(&[]).await.receive(new).await;
        run_locally(&s, vault.path(), "", sh(BACK, 0)).await;
        let on_disk = |path: &str| std::fs::read(vault.path().join(path)).unwrap();
        assert_eq!(on_disk("8c/new.png"), b"drawn since");
        assert_eq!(on_disk(&s.archive_key(old)), OLD_ZIP);
        let zip = s.archive(new).await.unwrap().bytes;
        let row = s.row(new).await;
        assert_eq!(on_disk(row["file_path"].as_str().unwrap()), zip);
    });
}
