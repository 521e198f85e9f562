//! Runs of the cleanup: expired archives, stuck requests, orphans and the purge.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::MessageSystemAttributeName;
use axum::Router;
use axum::routing::post;
use bdr_tests::in_process::{Cleaner, now};
use bdr_tests::proxy::{Fault, HttpProxy, Script, Service, Target};
use bdr_tests::{Scenario, scenario_apart};
use local_stack::remote::RemoteHost;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::vault::{ArchiveKey, ListedArchive, NotDeleted, Vault};
use uuid::Uuid;

use crate::deploy::deployed_stack::aws;
use crate::process::large_exports::{start, state_machine};
use crate::process::retries::Panics;

/// Inserts `count` requests with these additional columns and a valid `file_path`. Returns their
/// ids.
async fn requests(s: &Scenario, count: i32, status: &str, columns: &str) -> Vec<Uuid> {
    let (names, values): (Vec<_>, Vec<_>) =
        columns.split(';').filter_map(|column| column.split_once('=')).unzip();
    let sql = format!(
        "INSERT INTO batch_download_requests
                (id, user_id, post_ids, artwork_count, status, file_path, file_size_bytes {comma} {names})
         SELECT n.id, {user}, '{{1}}', 1, '{status}', 'bdr/u/' || n.id || '.zip', 7 {comma} {values}
           FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, {count})) AS n
      RETURNING id",
        comma = if names.is_empty() { "" } else { "," },
        names = names.join(","),
        values = values.join(","),
        user = s.user_id,
    );
    let rows = s.database.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn key(bdr_id: &Uuid) -> String {
    format!("bdr/u/{bdr_id}.zip")
}

async fn exists(s: &Scenario, key: &str) -> bool {
    s.s3.head_object().bucket(s.bucket()).key(key).send().await.is_ok()
}

async fn count(s: &Scenario, condition: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM batch_download_requests WHERE {condition}");
    s.database.query_one(&sql, &[]).await.unwrap().get(0)
}

/// `created_at` of a request whose `started_at` is later.
const LONG_AGO: &str = "created_at=now() - interval '10 days'";

const GONE: &str = "status = 'expired' AND file_path IS NULL AND file_size_bytes IS NULL";

#[test]
fn one_run_expires_thousands_of_requests_and_no_valid_one() {
    scenario_apart(async |s| {
        let expired = requests(&s, 2500, "ready", "expires_at=now() - interval '1 second'").await;
        let valid = requests(&s, 3, "ready", "expires_at=now() + interval '1 hour'").await;
        let forever = requests(&s, 1, "ready", "").await;
        // Most objects are gone already: deleted by the bucket's lifecycle or by an operator.
        for bdr_id in expired.iter().step_by(100).chain(&valid).chain(&forever) {
            s.put(&key(bdr_id), b"zip").await;
        }
        let report = Cleaner::new(&s, &[]).await.run(json!({})).await.unwrap();
        let expected = json!({
            "status": "success", "cleaned_up": 2500, "rescued": 0, "republished": 0,
            "orphans_deleted": 0, "orphans_unknown": 0, "purged": 0, "more": false, "errors": null,
        });
        assert_eq!(report, expected);
        assert_eq!(count(&s, GONE).await, 2500);
        for bdr_id in expired.iter().step_by(100) {
            assert!(!exists(&s, &key(bdr_id)).await);
        }
        for bdr_id in valid.iter().chain(&forever) {
            assert!(exists(&s, &key(bdr_id)).await);
            assert_eq!(s.row(*bdr_id).await["status"], "ready");
        }
    });
}

#[test]
fn two_concurrent_runs_share_the_work() {
    scenario_apart(async |s| {
        requests(&s, 1500, "ready", "expires_at=now() - interval '1 day'").await;
        requests(&s, 5, "processing", &format!("{LONG_AGO};started_at=now() - interval '7 hours'"))
            .await;
        let (one, two) = (Cleaner::new(&s, &[]).await, Cleaner::new(&s, &[]).await);
        let (one, two) = tokio::join!(one.run(json!({})), two.run(json!({})));
        let (one, two) = (one.unwrap(), two.unwrap());
        let sum = |name: &str| one[name].as_u64().unwrap() + two[name].as_u64().unwrap();
        assert_eq!((sum("cleaned_up"), sum("rescued")), (1500, 5));
        assert_eq!(count(&s, GONE).await, 1500);
    });
}

#[test]
fn a_zip_that_cannot_be_deleted_does_not_block_the_others() {
    scenario_apart(async |s| {
        let expired = requests(&s, 3, "ready", "expires_at=now() - interval '1 day'").await;
        let undeletable = expired[1];
        let denied = format!(
            "<DeleteResult><Error><Key>{}</Key><Code>AccessDenied</Code></Error></DeleteResult>",
            key(&undeletable)
        );
        let vault = Router::new().route("/vault/", post(async move || denied.clone()));
        let vault = vault.clone().route("/vault", post(async || ""));
        let host = RemoteHost::with_routes(vault).unwrap();
        let cleaner = super::cleaner_with_vault_at(&s, &host).await;
        for cleaned_up in [2, 0] {
            let report = cleaner.run(json!({"only": ["expire"]})).await.unwrap();
            assert_eq!(
                (&report["status"], &report["cleaned_up"]),
                (&json!("success"), &json!(cleaned_up))
            );
            let error = "failed to delete the ZIP: AccessDenied";
            assert_eq!(report["errors"], json!([{"bdr_id": undeletable, "error": error}]));
            assert_eq!(s.row(undeletable).await["status"], "ready");
        }
        assert_eq!(count(&s, GONE).await, 2);
    });
}

#[test]
fn an_object_that_is_not_an_archive_is_never_deleted() {
    scenario_apart(async |s| {
        let [bdr_id] = requests(&s, 1, "ready", "expires_at=now() - interval '1 day'").await[..]
        else {
            panic!("one request")
        };
        s.put("8c/4f/artwork.png", b"pixels").await;
        s.set(bdr_id, "file_path = '8c/4f/artwork.png'").await;
        let report = Cleaner::new(&s, &[]).await.run(json!({})).await.unwrap();
        assert_eq!(report["cleaned_up"], 0);
        assert_eq!(report["errors"][0]["bdr_id"], bdr_id.to_string());
        assert!(exists(&s, "8c/4f/artwork.png").await);
        assert_eq!(s.row(bdr_id).await["status"], "ready");
    });
}

#[test]
fn a_run_killed_anywhere_is_completed_by_the_next_one() {
    scenario_apart(async |s| {
        for milliseconds in (0..200).step_by(5) {
            let expired = requests(&s, 3, "ready", "expires_at=now() - interval '1 day'").await;
            for bdr_id in &expired {
                s.put(&key(bdr_id), b"zip").await;
            }
            let cleaner = Cleaner::new(&s, &[]).await;
            let killed =
                tokio::time::timeout(Duration::from_millis(milliseconds), cleaner.run(json!({})));
            let _ = killed.await;
            Cleaner::new(&s, &[]).await.run(json!({})).await.unwrap();
            for bdr_id in &expired {
                assert!(!exists(&s, &key(bdr_id)).await);
                assert_eq!(s.row(*bdr_id).await["status"], "expired");
            }
        }
    });
}

#[test]
fn a_request_whose_export_runs_is_not_stuck() {
    scenario_apart(async |mut s| {
        let stuck = "status = 'processing', created_at = now() - interval '7 hours',
                     started_at = now() - interval '7 hours'";
        let bdr_id = s.request(&[1]).await;
        s.set(bdr_id, stuck).await;
        let other = s.request(&[1]).await;
        s.set(other, stuck).await;
        let token = "SELECT (extract(epoch FROM started_at) * 1000000)::bigint
                       FROM batch_download_requests WHERE id = $1";
        let token: i64 = s.database.query_one(token, &[&bdr_id]).await.unwrap().get(0);
        let export = json!({"bdr_id": bdr_id, "user_sqid": s.user_sqid, "token": token});
        let input = json!({"export": export, "segments": [1]});
        let waiting = json!({"Type": "Wait", "Seconds": 600, "End": true});
        let state_machine = state_machine(&s, waiting).await;
        let execution = start(&s, &state_machine, &input).await;

        let denied = Target::Nth(Service::StepFunctions, "DescribeExecution".to_owned(), 1);
        let again = Target::After(1);
        let faults = vec![(denied, Fault::Denial), (again, Fault::Denial)];
        let script = Arc::new(Script::new(faults));
        let proxy = HttpProxy::start(script, s.stack.endpoint(), "").await.unwrap();
        s.aws = proxy.sdk_config(s.stack);
        let cleaner = Cleaner::new(&s, &[("EXPORT_STATE_MACHINE_ARN", &state_machine)]).await;
        let rescue = async || cleaner.run(json!({"only": ["rescue"]})).await.unwrap();
        let denied = rescue().await;
        assert_eq!(denied["rescued"], 0, "{denied}");
        assert_eq!(denied["errors"].as_array().unwrap().len(), 2, "{denied}");
        let report = rescue().await;
        assert_eq!((&report["rescued"], &report["errors"]), (&json!(1), &Value::Null));
        assert_eq!(s.row(other).await["status"], "failed");
        assert_eq!(s.row(bdr_id).await["status"], "processing");
        aws(&s, &["stepfunctions", "stop-execution", "--execution-arn", &execution]).await;
        assert_eq!(rescue().await["rescued"], 1);
        assert_eq!(s.row(bdr_id).await["status"], "failed");
    });
}

#[test]
fn stuck_requests_are_rescued_and_waiting_requests_republished() {
    scenario_apart(async |s| {
        let since = |minutes| format!("{LONG_AGO};started_at=now() - interval '{minutes} minutes'");
        let stuck = requests(&s, 2, "processing", &since(361)).await;
        requests(&s, 2, "processing", &since(359)).await;
        let waiting = requests(&s, 12, "pending", "created_at=now() - interval '61 minutes'").await;
        requests(&s, 2, "pending", "created_at=now() - interval '59 minutes'").await;
        requests(&s, 2, "pending", &since(30)).await;
        let abandoned = requests(&s, 2, "pending", "created_at=now() - interval '8 days'").await;

        let cleaner = Cleaner::new(&s, &[]).await;
        let report = cleaner.run(json!({"only": ["rescue", "republish"]})).await.unwrap();
        assert_eq!((&report["rescued"], &report["republished"]), (&json!(4), &json!(12)));
        for bdr_id in stuck.iter().chain(&abandoned) {
            let row = s.row(*bdr_id).await;
            assert_eq!(row["status"], "failed");
            assert!(row["error_message"].as_str().unwrap().starts_with("Something went wrong"));
            assert_ne!(row["completed_at"], Value::Null);
        }
        assert_eq!(count(&s, "status = 'failed'").await, 4);
        assert_eq!(count(&s, "status = 'pending'").await, 16);

        let mut published = Vec::new();
        while published.len() < 12 {
            let received = s.sqs.receive_message().queue_url(&cleaner.queue_url);
            let received = received.message_system_attribute_names(MessageSystemAttributeName::All);
            let received = received.max_number_of_messages(10).wait_time_seconds(20).send().await;
            for message in received.unwrap().messages.unwrap_or_default() {
                let group =
                    &message.attributes().unwrap()[&MessageSystemAttributeName::MessageGroupId];
                assert_eq!(*group, s.user_id.to_string(), "in the group of its artist");
                let body = message.body().unwrap();
                published.push(shared::message::Message::parse(body).unwrap().bdr_id);
            }
        }
        published.sort_unstable();
        let mut waiting = waiting;
        waiting.sort_unstable();
        assert_eq!(published, waiting);
    });
}

#[test]
fn orphans_are_deleted_after_a_day_and_unknown_objects_kept() {
    scenario_apart(async |s| {
        let mut unwanted = requests(&s, 1, "failed", "").await;
        unwanted.extend(requests(&s, 1, "expired", "").await);
        let mut wanted = requests(&s, 1, "pending", "").await;
        wanted.extend(requests(&s, 1, "processing", "started_at=now()").await);
        wanted.extend(requests(&s, 1, "ready", "expires_at=now() + interval '1 day'").await);
        // A large export may have left a segment beside each ZIP.
        let segment =
            |bdr_id: &Uuid| key(bdr_id).replace(".zip", "/1764000000000000/segment-00001");
        for bdr_id in unwanted.iter().chain(&wanted) {
            s.put(&key(bdr_id), b"zip").await;
            s.put(&segment(bdr_id), b"segment").await;
        }
        let unknown = [key(&Uuid::new_v4()), "bdr/readme.txt".to_owned(), "bdr/u/x.zip".to_owned()];
        for key in &unknown {
            s.put(key, b"?").await;
        }
        s.put("artwork.png", b"pixels").await;

        let mut cleaner = Cleaner::new(&s, &[]).await;
        let young = cleaner.run(json!({"only": ["orphans"]})).await.unwrap();
        assert_eq!((&young["orphans_deleted"], &young["orphans_unknown"]), (&json!(0), &json!(0)));

        cleaner.handler.cleanup.clock = Clock::fixed(now() + Duration::from_hours(25));
        let old = cleaner.run(json!({"only": ["orphans"]})).await.unwrap();
        // The ready request, the last one, has its ZIP and needs no segment.
        assert_eq!((&old["orphans_deleted"], &old["orphans_unknown"]), (&json!(5), &json!(3)));
        for bdr_id in &unwanted {
            assert!(!exists(&s, &key(bdr_id)).await);
        }
        for (n, bdr_id) in wanted.iter().chain(&unwanted).enumerate() {
            assert_eq!(exists(&s, &segment(bdr_id)).await, n < 2, "{n}");
        }
        for kept in wanted.iter().map(key).chain(unknown).chain(["artwork.png".to_owned()]) {
            assert!(exists(&s, &kept).await, "{kept}");
        }
    });
}

#[test]
fn a_zip_written_after_the_listing_is_kept() {
    scenario_apart(async |s| {
        let vault = Vault::new(s.s3.clone(), s.bucket());
        let key = key(&Uuid::new_v4());
        let delete = async |listed: &ListedArchive| {
            let key = ArchiveKey::parse(&listed.key).unwrap();
            vault.delete_archives([(&key, listed.e_tag.as_deref())]).await.unwrap()
        };
        s.put(&key, b"orphan").await;
        let listed = vault.list_archives(None).await.unwrap();
        s.s3.delete_object().bucket(s.bucket()).key(&key).send().await.unwrap();
        let gone = delete(&listed[0]).await;
        s.put(&key, b"ready").await;
        let replaced = delete(&listed[0]).await;
        let changed: HashMap<_, _> = [(key.clone(), NotDeleted::Changed)].into();
        assert_eq!((gone, replaced), (changed.clone(), changed));
        assert!(exists(&s, &key).await);

        let listed = vault.list_archives(None).await.unwrap();
        assert_eq!(delete(&listed[0]).await, HashMap::new());
        assert!(!exists(&s, &key).await);
    });
}

#[test]
fn orphans_are_found_on_every_page_of_the_listing() {
    scenario_apart(async |s| {
        // One page of a listing has 1,000 keys; this key is on the second page.
        let last = Uuid::from_u128(u128::MAX);
        for n in 0..1000 {
            s.put(&key(&Uuid::from_u128(n)), b"").await;
        }
        s.put(&key(&last), b"zip").await;
        let [failed] = requests(&s, 1, "failed", "").await[..] else { panic!("one request") };
        s.set(failed, &format!("id = '{last}'")).await;
        let mut cleaner = Cleaner::new(&s, &[]).await;
        cleaner.handler.cleanup.clock = Clock::fixed(now() + Duration::from_hours(25));
        let report = cleaner.run(json!({"only": ["orphans"]})).await.unwrap();
        assert_eq!(
            (&report["orphans_deleted"], &report["orphans_unknown"]),
            (&json!(1), &json!(1000))
        );
    });
}

#[test]
fn nothing_is_deleted_when_the_database_is_empty() {
    scenario_apart(async |s| {
        for _ in 0..3 {
            s.put(&key(&Uuid::new_v4()), b"zip").await;
        }
        let mut cleaner = Cleaner::new(&s, &[]).await;
        cleaner.handler.cleanup.clock = Clock::fixed(now() + Duration::from_hours(1000));
        let report = cleaner.run(json!({})).await.unwrap();
        assert_eq!(
            (&report["orphans_deleted"], &report["orphans_unknown"]),
            (&json!(0), &json!(3))
        );
    });
}

#[test]
fn closed_requests_are_purged_only_if_configured() {
    scenario_apart(async |s| {
        let old = "created_at=now() - interval '40 days';completed_at=now() - interval '31 days'";
        requests(&s, 3, "failed", old).await;
        requests(&s, 2, "expired", &format!("{old};expires_at=now() - interval '31 days'")).await;
        requests(&s, 1, "expired", &format!("{old};expires_at=now() - interval '29 days'")).await;
        requests(&s, 1, "ready", &format!("{old};expires_at=now() + interval '1 day'")).await;
        let purged = async |days| {
            let cleaner = Cleaner::new(&s, &[("PURGE_AFTER_DAYS", days)]).await;
            cleaner.run(json!({"only": ["purge"]})).await.unwrap()["purged"].clone()
        };
        assert_eq!(purged("0").await, 0);
        for open in ["pending", "processing"] {
            requests(&s, 1, open, "created_at=now() - interval '40 days'").await;
        }
        assert_eq!(purged("30").await, 5);
        assert_eq!(count(&s, "true").await, 4, "one closed recently and three open requests");
    });
}

#[test]
fn a_run_stops_before_its_deadline_and_reports_more() {
    scenario_apart(async |s| {
        requests(&s, 2, "ready", "expires_at=now() - interval '1 day'").await;
        let mut cleaner = Cleaner::new(&s, &[]).await;
        cleaner.time_left = Duration::from_secs(59);
        let report = cleaner.run(json!({})).await.unwrap();
        assert_eq!((&report["more"], &report["cleaned_up"]), (&json!(true), &json!(0)));
        assert_eq!(count(&s, "status = 'ready'").await, 2);
    });
}

#[test]
fn a_run_without_database_or_vault_is_an_error() {
    scenario_apart(async |s| {
        let nowhere = "postgresql://nobody@127.0.0.1:1/none";
        let cleaner = Cleaner::new(&s, &[("DATABASE_URL", nowhere)]).await;
        assert!(cleaner.run(json!({})).await.is_err());
        let cleaner = Cleaner::new(&s, &[("VAULT_BUCKET", "no-such-bucket")]).await;
        assert!(cleaner.run(json!({})).await.is_err());
    });
}

#[test]
fn a_run_that_panics_reports_its_work_and_fails() {
    scenario_apart(async |s| {
        let stuck = format!("{LONG_AGO};started_at=now() - interval '7 hours'");
        requests(&s, 1, "processing", &stuck).await;
        let s3 = aws_sdk_s3::config::Builder::from(&s.stack.sdk_config()).interceptor(Panics);
        let mut cleaner = Cleaner::new(&s, &[]).await;
        cleaner.handler.cleanup.vault =
            Vault::new(aws_sdk_s3::Client::from_conf(s3.build()), s.bucket());
        let error = cleaner.run(json!({})).await.unwrap_err();
        assert_eq!(error.to_string(), "the cleanup panicked");
        let outcome = s.log.outcome();
        assert_eq!(
            (&outcome["result"], &outcome["level"], &outcome["rescued"]),
            (&json!("panicked"), &json!("ERROR"), &json!(1))
        );
        let emitted = s.log.emitted();
        assert_eq!(emitted.len(), 1, "a run is reported once");
        assert_eq!(emitted[0]["status"], "panicked");
        assert_eq!(emitted[0]["bdr_cleanup_errors_total"], 1);
        assert!(emitted[0].get("bdr_cleanup_completed_total").is_none());
    });
}

#[test]
fn a_run_that_is_dropped_is_reported_as_cancelled() {
    scenario_apart(async |s| {
        let cleaner = Cleaner::new(&s, &[]).await;
        {
            let mut run = Box::pin(cleaner.run(json!({})));
            assert!(futures_util::poll!(&mut run).is_pending());
        }
        assert_eq!(s.log.outcome()["result"], "cancelled");
        let emitted = s.log.emitted();
        assert_eq!(emitted.len(), 1, "a run is reported once");
        assert_eq!(emitted[0]["status"], "cancelled");
        assert_eq!(emitted[0]["bdr_cleanup_errors_total"], 1);
    });
}
