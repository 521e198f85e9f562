//! The tool and large exports: progress, and a retry that resumes.

use std::sync::Arc;

use aws_sdk_s3::types::StorageClass;
use bdr_tests::proxy::{Fault, HttpProxy, Script, Service, Target};
use bdr_tests::scenario::unique;
use bdr_tests::{Delivery, Scenario, scenario};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{bdrctl, command, published, queue, ran};
use crate::deploy::deployed_stack::aws;
use crate::process::large_exports::{
    begin, idle_state_machine, key_of, keys, request, sizes, start,
};

/// Makes a schema with a `now()` that is 17 minutes late, so that all invocations have ended. Returns the URL of
/// a database whose clock it is.
pub(crate) async fn later(s: &Scenario) -> String {
    let schema = unique("later");
    let create = format!(
        "CREATE SCHEMA {schema};
         GRANT USAGE ON SCHEMA {schema} TO PUBLIC;
         CREATE FUNCTION {schema}.now() RETURNS timestamptz LANGUAGE sql STABLE
             AS $$ SELECT pg_catalog.now() + interval '17 minutes' $$"
    );
    s.database.batch_execute(&create).await.unwrap();
    let url = s.admin_database_url();
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}options=-csearch_path%3D{schema}%2Cpublic%2Cpg_catalog")
}

/// Archives the posts of the second segment, so that an execution cannot read them, tries again and fails.
/// Returns their key and content.
pub(crate) async fn make_unreadable(s: &Scenario, input: &Value) -> (String, Vec<u8>) {
    let (key, content) = posts_of_second_segment(s, input).await;
    let archive =
        s.s3.put_object().bucket(s.bucket()).key(&key).storage_class(StorageClass::Glacier);
    archive.send().await.unwrap();
    (key, content)
}

/// Returns the key and the content of the posts of the second segment of an export.
async fn posts_of_second_segment(s: &Scenario, input: &Value) -> (String, Vec<u8>) {
    let key = key_of(s, &format!("/{}/posts-00002.json", input["export"]["token"])).await;
    let get = s.s3.get_object().bucket(s.bucket()).key(&key).send().await.unwrap();
    (key, get.body.collect().await.unwrap().to_vec())
}

async fn status(s: &Scenario, bdr_id: Uuid) -> Value {
    bdrctl(s, &["--json", "status", &bdr_id.to_string()]).await.json()
}

#[test]
fn an_export_is_watched_and_resumed_where_it_stood() {
    scenario(async |s| {
        let bdr_id = request(&s, 20, 600_000).await;
        let id = bdr_id.to_string();
        let input = begin(&s, bdr_id, 2_400_000, &idle_state_machine(&s).await).await;
        let segments = input["segments"].as_array().unwrap().len() + 1;
        assert!(segments > 3, "{input}");
        assert_eq!(status(&s, bdr_id).await["export"], Value::Null, "it has no execution");
        let (posts, restored) = make_unreadable(&s, &input).await;
        let state_machine = s.stack.output("ExportStateMachineArn").unwrap();
        start(&s, state_machine, &input).await;

        let progress = s
            .wait("all other segments to be written", async || {
                let export = status(&s, bdr_id).await["export"].take();
                Ok((export["segments_done"] == segments - 1).then_some(export))
            })
            .await;
        assert_eq!((&progress["running"], &progress["segments"]), (&json!(true), &json!(segments)));
        let objects = sizes(&s).await.into_iter();
        let written = objects.filter(|(key, _)| key.contains("/segment-")).map(|(_, size)| size);
        let bytes = input["first_segment_bytes"].as_i64().unwrap() + written.sum::<i64>();
        assert!(bytes > 600_000 * 10, "{bytes}");
        assert_eq!(progress["bytes_done"], bytes);
        assert!(progress["seconds_left"].is_u64(), "{progress}");
        let text = bdrctl(&s, &["status", &id]).await.ok();
        let expected = format!("{} of {segments} segments, ", segments - 1);
        assert!(text.contains(&expected), "{text}");
        let queue = queue(&s).await;
        for command in ["retry", "submit"] {
            let error = bdrctl(&s, &[command, &id, "--queue-url", &queue]).await.failed();
            assert!(error.contains("is running"), "{command}: {error}");
        }
        s.set(bdr_id, "created_at = now() - interval '1 hour'").await;
        let watched = bdrctl(&s, &["--json", "watch", &id]).await;
        let lines: Vec<Value> =
            watched.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.last().unwrap()["status"], "failed", "{lines:?}");
        watched.failed();

        let error = bdrctl(&s, &["retry", &id]).await.failed();
        assert!(error.contains("may be writing a segment until 2"), "{error}");
        s.put(&posts, &restored).await;
        let later = later(&s).await;
        let retry = ["--json", "--database-url", &later, "retry", &id];
        let resumed = bdrctl(&s, &retry).await.json();
        assert_eq!((&resumed["was"], &resumed["resumed"]), (&json!("failed"), &json!(true)));
        assert_eq!(resumed["segments_done"], segments - 1);
        let row = s.wait_for(bdr_id, "ready").await;
        assert_eq!(row["error_message"], Value::Null);
        s.wait("the export's own objects to be deleted", async || {
            Ok((keys(&s).await.len() == 1).then_some(()))
        })
        .await;
        assert_eq!(s.emails().await.len(), 2, "that it failed, and that it is ready");
        crate::process::large_exports::assert_whole(&s, bdr_id).await;
    });
}

/// Returns a failed request, whose export ended after a permanent failure that is mended.
async fn failed_export(s: &Scenario) -> Uuid {
    let bdr_id = request(s, 12, 600_000).await;
    let input = begin(s, bdr_id, 1_200_000, &idle_state_machine(s).await).await;
    let (key, posts) = posts_of_second_segment(s, &input).await;
    s.put(&key, b"malformed").await;
    let state_machine = s.stack.output("ExportStateMachineArn").unwrap();
    let execution = start(s, state_machine, &input).await;
    s.wait_for(bdr_id, "failed").await;
    let describe = ["stepfunctions", "describe-execution", "--execution-arn", &execution];
    s.wait("the execution to end", async || {
        Ok((aws(s, &describe).await["status"] == "FAILED").then_some(()))
    })
    .await;
    s.put(&key, &posts).await;
    bdr_id
}

#[test]
fn a_request_whose_resumption_is_rejected_is_started_over() {
    scenario(async |s| {
        let (queue, later) = (queue(&s).await, later(&s).await);
        for fault in [Fault::Throttling, Fault::Denial] {
            let bdr_id = failed_export(&s).await;
            let id = bdr_id.to_string();
            let first = Target::Nth(Service::StepFunctions, "StartExecution".to_owned(), 1);
            // The tries of the client.
            let again = vec![(Target::After(1), fault); 9];
            let script = Arc::new(Script::new([vec![(first, fault)], again].concat()));
            let proxy = HttpProxy::start(script, s.stack.endpoint(), "").await.unwrap();
            let retry = ["--database-url", &later, "--queue-url", &queue, "retry", &id];
            let rejected = command(&s, &proxy.endpoint(), &retry).output().await.unwrap();
            let error = ran(&s, &retry, rejected).failed();
            assert!(error.contains("failed to resume the export of request"), "{error}");
            assert!(error.contains("run the command again after 16 minutes"), "{error}");
            assert_eq!(s.row(bdr_id).await["status"], "processing", "{fault:?}");

            let early = bdrctl(&s, &["--queue-url", &queue, "retry", &id]).await.failed();
            assert!(early.contains("an attempt may be running until 2"), "{early}");
            let text = bdrctl(&s, &retry).await.ok();
            assert!(text.starts_with(&format!("Published {id} (was processing).")), "{text}");
            assert_eq!(published(&s, &queue).await, [bdr_id], "{fault:?}");
            assert_eq!(s.worker(&[]).await.receive(bdr_id).await, Delivery::Acknowledged);
            assert_eq!(s.row(bdr_id).await["status"], "ready", "{fault:?}");
        }
    });
}
