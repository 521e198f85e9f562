//! Erasures: everything that the vault has of a request or of a user, at once.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::RawQuery;
use axum::routing::get;
use bdr_tests::in_process::Cleaner;
use bdr_tests::proxy::{DatabaseWire, Fault, HttpProxy, Script, Service, Target};
use bdr_tests::{Artwork, Delivery, Scenario, scenario_apart};
use local_stack::remote::RemoteHost;
use local_stack::seed;
use serde_json::{Value, json};
use uuid::Uuid;

/// Returns what an erasure answers without errors.
fn answer(closed: usize, erased: usize, aborted_uploads: usize) -> Value {
    json!({
        "status": "success", "closed": closed, "erased": erased,
        "aborted_uploads": aborted_uploads, "more": false, "errors": null,
    })
}

async fn erase(s: &Scenario, target: Value) -> Value {
    Cleaner::new(s, &[]).await.run(json!({ "erase": target })).await.unwrap()
}

/// Returns all keys of the vault, in their order.
async fn keys(s: &Scenario) -> Vec<String> {
    let listed = s.s3.list_objects_v2().bucket(s.bucket()).send().await.unwrap();
    listed.contents.unwrap_or_default().into_iter().filter_map(|object| object.key).collect()
}

async fn open_upload(s: &Scenario, key: &str) {
    s.s3.create_multipart_upload().bucket(s.bucket()).key(key).send().await.unwrap();
}

/// Inserts a request in this state with a ZIP. Returns its id.
async fn with_zip(s: &Scenario, status: &str) -> Uuid {
    let bdr_id = s.request(&[1]).await;
    let key = s.archive_key(bdr_id);
    let expires = if status == "ready" { ", expires_at = now() + interval '6 days'" } else { "" };
    s.set(bdr_id, &format!("status = '{status}', file_path = '{key}'{expires}")).await;
    s.put(&key, b"zip").await;
    bdr_id
}

/// Asserts that a row is `expired` as the cleanup would have left it.
async fn assert_erased(s: &Scenario, bdr_id: Uuid) {
    let row = s.row(bdr_id).await;
    assert_eq!((&row["status"], &row["file_path"]), (&json!("expired"), &Value::Null));
    assert_eq!((&row["file_size_bytes"], &row["error_message"]), (&Value::Null, &Value::Null));
    assert_ne!((&row["completed_at"], &row["expires_at"]), (&Value::Null, &Value::Null));
    let over = "SELECT expires_at <= now() FROM batch_download_requests WHERE id = $1";
    assert!(s.database.query_one(over, &[&bdr_id]).await.unwrap().get::<_, bool>(0));
}

#[test]
fn everything_of_a_user_is_erased_and_nothing_of_another() {
    scenario_apart(async |s| {
        let states = ["ready", "failed", "pending", "processing"];
        let mut requests = Vec::new();
        for status in states {
            requests.push(with_zip(&s, status).await);
        }
        let sqid = &s.user_sqid;
        // What `ON DELETE CASCADE` leaves, and what another version may store.
        let gone = Uuid::new_v4();
        let without_rows =
            [format!("bdr/{sqid}/{gone}.zip"), format!("bdr/{sqid}/{gone}/segment-0001")];
        for key in &without_rows {
            s.put(key, b"leftover").await;
            open_upload(&s, key).await;
        }

        let neighbour = seed::User {
            handle: "neighbour".to_owned(),
            email: "neighbour@example.org".to_owned(),
            public_sqid: Some(format!("{sqid}2")),
        };
        let neighbour = neighbour.insert(&s.database).await.unwrap();
        let theirs = s.request(&[1]).await;
        let kept = [
            format!("{sqid}/artwork.png"),
            format!("bdr/{sqid}.zip"),
            format!("bdr/{sqid}2/{theirs}.zip"),
            format!("bdr/{}/{theirs}.zip", &sqid[..sqid.len() - 1]),
            format!("bdr/{}/{theirs}.zip", sqid.to_uppercase()),
        ];
        s.set(theirs, &format!("user_id = {neighbour}, status = 'ready'")).await;
        for key in &kept {
            s.put(key, b"kept").await;
        }
        open_upload(&s, &kept[2]).await;
        let before = s.row(theirs).await;

        let target = json!({ "user_sqid": sqid });
        assert_eq!(erase(&s, target.clone()).await, answer(4, 6, 2));
        let mut left = keys(&s).await;
        left.sort_unstable();
        let mut expected = kept.clone();
        expected.sort_unstable();
        assert_eq!(left, expected);
        assert_eq!(s.open_uploads().await, 0);
        let uploads = s.s3.list_multipart_uploads().bucket(s.bucket()).send().await.unwrap();
        assert_eq!(uploads.uploads()[0].key(), Some(&*kept[2]));
        for bdr_id in &requests {
            assert_erased(&s, *bdr_id).await;
        }
        assert_eq!(s.row(theirs).await, before);
        let emitted = s.log.emitted();
        assert_eq!(emitted.last().unwrap()["bdr_cleanup_errors_total"], 0);

        assert_eq!(erase(&s, target).await, answer(0, 0, 0), "the second time");
        let delete = format!("DELETE FROM users WHERE id = {}", s.user_id);
        s.database.batch_execute(&delete).await.unwrap();
        s.put(&without_rows[0], b"late").await;
        let target = json!({ "user_sqid": sqid });
        assert_eq!(erase(&s, target).await, answer(0, 1, 0), "the user is gone too");
    });
}

#[test]
fn a_request_is_erased_and_the_others_of_its_user_are_not() {
    scenario_apart(async |s| {
        let (bdr_id, other) = (with_zip(&s, "ready").await, with_zip(&s, "ready").await);
        let segment = format!("bdr/{}/{bdr_id}/segment-0001", s.user_sqid);
        s.put(&segment, b"segment").await;
        open_upload(&s, &segment).await;
        open_upload(&s, &s.archive_key(other)).await;
        let before = s.row(other).await;
        let target = json!({ "bdr_id": bdr_id.to_string().to_uppercase() });
        assert_eq!(erase(&s, target.clone()).await, answer(1, 2, 1));
        assert_erased(&s, bdr_id).await;
        assert_eq!(keys(&s).await, [s.archive_key(other)]);
        assert_eq!(s.row(other).await, before);
        assert_eq!(s.open_uploads().await, 1);
        assert_eq!(erase(&s, target).await, answer(0, 0, 0), "the second time");
    });
}

#[test]
fn a_request_whose_row_is_gone_is_found_by_its_key() {
    scenario_apart(async |s| {
        let (gone, other) = (Uuid::new_v4(), Uuid::new_v4());
        let kept = [format!("bdr/zz/{other}.zip"), format!("8c/zz/{gone}.zip")];
        for key in &kept {
            s.put(key, b"kept").await;
        }
        // The key is on the second page of the listing.
        for n in 0..1000 {
            s.put(&format!("bdr/a/{}.zip", Uuid::from_u128(n)), b"").await;
        }
        s.put(&format!("bdr/zz/{gone}.zip"), b"zip").await;
        open_upload(&s, &format!("bdr/zz/{gone}/segment")).await;
        assert_eq!(erase(&s, json!({ "bdr_id": gone })).await, answer(0, 1, 1));
        for key in kept {
            s.s3.head_object().bucket(s.bucket()).key(key).send().await.unwrap();
        }
        assert_eq!(erase(&s, json!({ "user_sqid": "a" })).await, answer(0, 1000, 0));
    });
}

#[test]
fn a_public_id_that_is_not_stored_is_encoded() {
    scenario_apart(async |s| {
        let forget = format!("UPDATE users SET public_sqid = NULL WHERE id = {}", s.user_id);
        s.database.batch_execute(&forget).await.unwrap();
        let alphabet = "abcdefghijklmnopqrstuvwxyz0123456789";
        let source = shared::sqid::SqidSource::new(Some(alphabet)).unwrap();
        let sqid = source.sqid(None, s.user_id.into()).unwrap();
        let cleaner = Cleaner::new(&s, &[("SQIDS_ALPHABET", alphabet)]).await;
        let (one, two) = (s.request(&[1]).await, s.request(&[1]).await);
        for bdr_id in [one, two] {
            s.put(&format!("bdr/{sqid}/{bdr_id}.zip"), b"zip").await;
        }
        let by_id = cleaner.run(json!({"erase": {"bdr_id": one}})).await.unwrap();
        assert_eq!(by_id, answer(1, 1, 0));
        let by_user = cleaner.run(json!({"erase": {"user_sqid": sqid}})).await.unwrap();
        assert_eq!(by_user, answer(1, 1, 0));
        assert_erased(&s, one).await;
        assert_erased(&s, two).await;
    });
}

#[test]
fn an_erased_request_is_processed_by_no_attempt() {
    scenario_apart(async |s| {
        let bdr_id = s.request(&[s.artwork(Artwork::default()).await]).await;
        assert_eq!(erase(&s, json!({ "user_sqid": s.user_sqid })).await, answer(1, 0, 0));
        assert_eq!(s.worker(&[]).await.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(s.log.outcome()["result"], "skipped");
        assert!(s.archive(bdr_id).await.is_none());
        assert!(s.emails().await.is_empty());
    });
}

/// Erases the request while its attempt is held at a call to S3.
async fn erased_at(s: &Scenario, operation: &str, bytes: usize, deletes_row: bool) {
    let post = s.artwork(Artwork { file: Some(&vec![1; bytes]), ..Artwork::default() }).await;
    let bdr_id = s.request(&[post]).await;
    let held = Target::Nth(Service::S3, operation.to_owned(), 1);
    let script = Arc::new(Script::new(vec![(held, Fault::Hold)]));
    let proxy = HttpProxy::start(Arc::clone(&script), s.stack.endpoint(), "").await.unwrap();
    let worker = s.worker_through(&proxy.sdk_config(s.stack), &[]).await;
    let (delivery, ()) = futures_util::join!(worker.receive(bdr_id), async {
        script.wait_for_hold().await;
        if deletes_row {
            let delete = format!("DELETE FROM batch_download_requests WHERE id = '{bdr_id}'");
            s.database.batch_execute(&delete).await.unwrap();
        }
        let erased = erase(s, json!({ "user_sqid": s.user_sqid })).await;
        assert_eq!(erased["closed"], usize::from(!deletes_row), "{operation}: {erased}");
        script.let_go();
    });
    let case = format!("{operation}, row deleted: {deletes_row}");
    assert_eq!(delivery, Delivery::Acknowledged, "{case}");
    assert_eq!(s.log.outcome()["result"], "closed", "{case}");
    assert!(s.archive(bdr_id).await.is_none(), "{case}");
    assert_eq!(s.open_uploads().await, 0, "{case}");
    if !deletes_row {
        assert_erased(s, bdr_id).await;
    }
    assert!(s.emails().await.is_empty(), "{case}");
}

#[test]
fn a_running_attempt_of_an_erased_request_leaves_nothing() {
    scenario_apart(async |s| {
        for deletes_row in [false, true] {
            for (operation, bytes) in [
                ("GetObject", 9 << 20),
                ("PutObject", 10),
                ("CreateMultipartUpload", 9 << 20),
                ("UploadPart", 9 << 20),
                ("CompleteMultipartUpload", 9 << 20),
            ] {
                Box::pin(erased_at(&s, operation, bytes, deletes_row)).await;
            }
        }
    });
}

/// Runs `meanwhile` while an attempt is about to mark its row `ready`. Returns the request.
async fn before_ready(s: &Scenario, meanwhile: impl AsyncFnOnce(Uuid)) -> Uuid {
    let bdr_id = s.request(&[s.artwork(Artwork::default()).await]).await;
    let held = vec![(Target::Containing("SET status = 'ready'".to_owned()), Fault::Hold)];
    let script = Arc::new(Script::new(held));
    let proxy = DatabaseWire::start(Arc::clone(&script), &s.database_url).await.unwrap();
    let worker = s.worker(&[("DATABASE_URL", proxy.url())]).await;
    let (delivery, ()) = futures_util::join!(worker.receive(bdr_id), async {
        script.wait_for_hold().await;
        assert!(s.archive(bdr_id).await.is_some());
        meanwhile(bdr_id).await;
        script.let_go();
    });
    assert_eq!(delivery, Delivery::Acknowledged);
    assert_eq!(s.log.outcome()["result"], "closed");
    bdr_id
}

#[test]
fn an_overtaken_attempt_deletes_its_zip_and_no_other() {
    scenario_apart(async |s| {
        let failed = before_ready(&s, async |bdr_id| s.set(bdr_id, "status = 'failed'").await);
        let failed = Box::pin(failed).await;
        assert!(s.archive(failed).await.is_none(), "no row refers to it");

        let ready = before_ready(&s, async |bdr_id| {
            let path = s.archive_key(bdr_id);
            let by_another = "status = 'ready', started_at = now() + interval '1 minute'";
            s.set(bdr_id, &format!("{by_another}, file_path = '{path}'")).await;
        });
        let ready = Box::pin(ready).await;
        assert!(s.archive(ready).await.is_some(), "another attempt was first with the same ZIP");

        let replaced = before_ready(&s, async |bdr_id| {
            s.set(bdr_id, "status = 'expired'").await;
            let key = s.archive_key(bdr_id);
            s.s3.delete_object().bucket(s.bucket()).key(&key).send().await.unwrap();
            s.put(&key, b"another").await;
        });
        let replaced = Box::pin(replaced).await;
        assert_eq!(s.archive(replaced).await.unwrap().bytes, b"another");

        let any_state = "ALTER TABLE batch_download_requests
                         DROP CONSTRAINT batch_download_requests_status";
        s.database.batch_execute(any_state).await.unwrap();
        let unknown = before_ready(&s, async |bdr_id| s.set(bdr_id, "status = 'paused'").await);
        let unknown = Box::pin(unknown).await;
        assert!(s.archive(unknown).await.is_some(), "the row may refer to it");
    });
}

#[test]
fn an_object_that_cannot_be_deleted_is_reported() {
    scenario_apart(async |s| {
        let answers = async |RawQuery(query): RawQuery| {
            if query.unwrap_or_default().contains("uploads") {
                return "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>\
                        <Upload><Key>bdr/u/z</Key><UploadId>1</UploadId></Upload>\
                        </ListMultipartUploadsResult>";
            }
            "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>bdr/u/x</Key></Contents>\
             <Contents><Key>bdr/u/y</Key></Contents></ListBucketResult>"
        };
        let denied = "<DeleteResult><Error><Key>bdr/u/x</Key><Code>AccessDenied</Code></Error>\
                      </DeleteResult>";
        let routes = get(answers).post(async move || denied);
        let vault = Router::new().route("/vault/", routes.clone()).route("/vault", routes);
        let host = RemoteHost::with_routes(vault).unwrap();
        let cleaner = super::cleaner_with_vault_at(&s, &host).await;
        let answer = cleaner.run(json!({"erase": {"user_sqid": "u"}})).await.unwrap();
        assert_eq!((&answer["status"], &answer["erased"]), (&json!("success"), &json!(1)));
        let errors = answer["errors"].as_array().unwrap();
        let keys: Vec<_> = errors.iter().map(|error| error["key"].as_str().unwrap()).collect();
        assert_eq!(keys, ["bdr/u/x"], "{answer}");
        assert_eq!(answer["aborted_uploads"], 0, "S3 answers that the upload is gone");
        assert_eq!(errors[0]["error"], "failed to delete the object: AccessDenied");
        assert_eq!(s.log.emitted().last().unwrap()["bdr_cleanup_errors_total"], 1);
    });
}

#[test]
fn an_erasure_stops_before_its_deadline_and_reports_more() {
    scenario_apart(async |s| {
        let bdr_id = with_zip(&s, "ready").await;
        let mut cleaner = Cleaner::new(&s, &[]).await;
        cleaner.time_left = Duration::from_secs(59);
        for target in [json!({ "user_sqid": s.user_sqid }), json!({ "bdr_id": bdr_id })] {
            let answer = cleaner.run(json!({ "erase": target })).await.unwrap();
            assert_eq!((&answer["more"], &answer["erased"]), (&json!(true), &json!(0)));
        }
        assert!(s.archive(bdr_id).await.is_some());
    });
}

#[test]
fn an_erasure_without_database_or_vault_is_an_error() {
    scenario_apart(async |s| {
        let event = || json!({"erase": {"user_sqid": "u"}});
        for broken in [
            ("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none"),
            ("VAULT_BUCKET", "no-such-bucket"),
        ] {
            assert!(Cleaner::new(&s, &[broken]).await.run(event()).await.is_err(), "{broken:?}");
        }
    });
}
