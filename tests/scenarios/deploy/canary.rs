//! The canary: it repeats its request, and reports what became of it.

use bdr_tests::in_process::canary;
use bdr_tests::{Artwork, Delivery, Scenario, scenario_apart};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::deploy::deployed_stack::lambda;
use crate::deploy::stack_life::{Stack, local_stack_architecture};

/// An hour passes: no attempt of the request can still run.
pub(crate) async fn an_hour_later(s: &Scenario, bdr_id: Uuid) {
    s.set(bdr_id, "started_at = started_at - interval '1 hour'").await;
}

#[test]
fn each_run_checks_the_run_before_and_repeats_the_request() {
    scenario_apart(async |s| {
        let worker = s.worker(&[]).await;
        let posts = [s.artwork(Artwork::default()).await, s.artwork(Artwork::default()).await];
        let bdr_id = s.request(&posts).await;
        s.set(bdr_id, "send_email = false").await;
        worker.receive(bdr_id).await;
        let run = async || canary(&s, bdr_id, worker.queue_url(), &[]).await.unwrap();
        for _ in 0..2 {
            an_hour_later(&s, bdr_id).await;
            let token = s.row(bdr_id).await["started_at"].clone();
            assert_eq!(run().await, json!({"status": "success", "reason": null}));
            let row = s.row(bdr_id).await;
            assert_eq!(row["status"], "pending");
            for column in ["file_path", "file_size_bytes", "completed_at", "expires_at"] {
                assert_eq!(row[column], Value::Null, "{column}");
            }
            assert!(row["started_at"].as_str() > token.as_str(), "the token grows");
            assert!(s.archive(bdr_id).await.is_none(), "the ZIP of the run before is deleted");
            assert_eq!(worker.drain().await, 1, "one message");
            assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
            assert_eq!(s.row(bdr_id).await["status"], "ready");
            assert!(s.archive(bdr_id).await.is_some());
        }
        // A second invocation, while an attempt may still run, changes nothing.
        assert_eq!(run().await["status"], "success");
        assert_eq!(s.row(bdr_id).await["status"], "ready");
        assert!(s.archive(bdr_id).await.is_some());
        let values = s.log.emitted().into_iter();
        let values: Vec<_> =
            values.filter_map(|line| line.get("bdr_canary_succeeded_total").cloned()).collect();
        assert_eq!(values, [1, 1, 1]);
    });
}

#[test]
fn each_failure_of_the_way_is_reported_with_its_reason() {
    scenario_apart(async |s| {
        let worker = s.worker(&[]).await;
        let there = s.artwork(Artwork::default()).await;
        let gone = s.artwork(Artwork { file: None, ..Artwork::default() }).await;
        let run = async |bdr_id| canary(&s, bdr_id, worker.queue_url(), &[]).await.unwrap();
        // What spoils a request that is ready, the reason, and the state after the run.
        let cases = [
            ("status = 'failed'", "the request failed", "pending"),
            ("status = 'processing'", "the request is still processing", "processing"),
            ("status = 'pending'", "the request is still pending", "pending"),
            ("file_size_bytes = 7", "file_size_bytes is not the size of the ZIP", "pending"),
            ("file_path = 'elsewhere'", "file_path is not the key of the ZIP", "pending"),
            (
                "expires_at = now() - interval '1 hour'",
                "the request has expired; CANARY_REQUEST_ID must name another one",
                "ready",
            ),
        ];
        for (spoil, reason, state) in cases {
            let bdr_id = s.request(&[there]).await;
            worker.receive(bdr_id).await;
            an_hour_later(&s, bdr_id).await;
            s.set(bdr_id, spoil).await;
            assert_eq!(run(bdr_id).await, json!({"status": "failed", "reason": reason}));
            assert_eq!(s.row(bdr_id).await["status"], state, "{spoil}");
        }

        let partial = s.request(&[there, gone]).await;
        worker.receive(partial).await;
        an_hour_later(&s, partial).await;
        assert_eq!(run(partial).await["reason"], "the ZIP is not whole, or lacks artworks");

        let deleted = s.request(&[there]).await;
        worker.receive(deleted).await;
        an_hour_later(&s, deleted).await;
        let key = s.archive_key(deleted);
        s.s3.delete_object().bucket(s.bucket()).key(key).send().await.unwrap();
        assert_eq!(run(deleted).await["reason"], "the vault has no ZIP");

        let absent = run(Uuid::from_u128(1)).await;
        assert_eq!(absent["reason"], "CANARY_REQUEST_ID names no request");
        let outcome = s.log.outcome();
        assert_eq!((&outcome["result"], &outcome["level"]), (&json!("failed"), &json!("ERROR")));

        // A database that does not respond is an error of the invocation, and counts as a failure.
        let url = [("DATABASE_URL", "postgresql://u:p@127.0.0.1:9/d?sslmode=disable")];
        canary(&s, deleted, worker.queue_url(), &url).await.unwrap_err();
        let values = s.log.emitted().into_iter();
        let values: Vec<_> =
            values.filter_map(|line| line.get("bdr_canary_succeeded_total").cloned()).collect();
        assert_eq!(values, [0; 10]);
    });
}

/// Returns the parameters of a stack whose canary sends this request.
pub(crate) fn parameters(s: &Scenario, bdr_id: Uuid) -> [String; 4] {
    [
        format!("DatabaseUrl={}", s.database_url),
        format!("Architecture={}", local_stack_architecture()),
        format!("VaultBucketName={}", s.bucket()),
        format!("CanaryRequestId={bdr_id}"),
    ]
}

#[test]
fn the_deployed_canary_sends_its_request_through_the_stack() {
    scenario_apart(async |s| {
        let posts = [s.artwork(Artwork::default()).await, s.artwork(Artwork::default()).await];
        let bdr_id = s.request(&posts).await;
        s.set(bdr_id, "send_email = false").await;
        let stack = Stack::packaged(&s).await;
        let parameters = parameters(&s, bdr_id);
        let parameters: Vec<_> = parameters.iter().map(String::as_str).collect();
        stack.deploy(&parameters).await;
        let outputs = stack.outputs().await;
        local_stack::seed::publish(&s.sqs, &outputs["QueueUrl"], bdr_id).await.unwrap();
        for _ in 0..2 {
            s.wait_for(bdr_id, "ready").await;
            an_hour_later(&s, bdr_id).await;
            let invoke = lambda(&s).invoke().function_name(&outputs["RunCanaryFunctionName"]);
            let result = invoke.payload(b"{}".to_vec().into()).send().await.unwrap();
            assert_eq!(result.function_error, None);
            let report: Value = serde_json::from_slice(result.payload.unwrap().as_ref()).unwrap();
            assert_eq!(report, json!({"status": "success", "reason": null}));
        }
        s.wait_for(bdr_id, "ready").await;
        let lines = s.stack.log_group(&outputs["RunCanaryLogGroupName"]).await.unwrap();
        s.secrets.look_for_leaks(lines.iter().map(String::as_str));
        let of_canary = |line: &&String| line.contains("bdr_canary_succeeded_total");
        let metric: Value = serde_json::from_str(lines.iter().find(of_canary).unwrap()).unwrap();
        assert_eq!(metric["stack"], stack.name);
        stack.delete().await;
    });
}
