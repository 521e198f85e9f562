//! The errors of invocations: each has a type that callers may rely on.

use bdr_tests::lambda::{Deployed, Function};
use bdr_tests::{Scenario, scenario};
use serde_json::{Value, json};
use uuid::Uuid;

use super::deployed_stack::invoke;

const PRESIGN: &str = "PresignBdrDownloadFunctionName";
const PROCESS: &str = "ProcessBdrJobFunctionName";
const CLEANUP: &str = "CleanupExpiredBdrsFunctionName";

/// Invokes a function that must fail; returns the type and the message of the error.
async fn error(s: &Scenario, output: &str, payload: &Value) -> (String, String) {
    let (body, error) = invoke(s, output, payload).await;
    assert!(error.is_some(), "{output} succeeded: {body}");
    let text = |member: &str| body[member].as_str().unwrap_or_default().to_owned();
    (text("errorType"), text("errorMessage"))
}

#[test]
fn an_error_has_a_type_and_names_what_is_wrong() {
    scenario(async |s| {
        let bdr_id = s.request(&[1]).await;
        s.set(bdr_id, "status = 'ready', file_path = 'elsewhere.zip'").await;
        let download = json!({"bdr_id": bdr_id, "user_id": s.user_id});
        for (output, payload, kind, named) in [
            (PRESIGN, json!({"bdr_id": "7"}), "InvalidPayload", r#"{"bdr_id": "<uuid>""#),
            (PRESIGN, download, "MalformedRow", "the column file_path"),
            (PROCESS, json!({"hello": "world"}), "InvalidPayload", "an SQS event"),
        ] {
            let (error_type, message) = error(&s, output, &payload).await;
            assert_eq!(error_type, kind, "{message}");
            assert!(message.contains(named), "{message}");
        }
    });
}

#[test]
fn an_error_without_a_database_has_its_type() {
    scenario(async |s| {
        let download = json!({"bdr_id": Uuid::nil(), "user_id": 1});
        // Deeper than a parser follows.
        let deep = (0..200).fold(json!([]), |inner, _| json!([inner]));
        for (output, package, payload) in [
            (PRESIGN, "presign-bdr-download", download),
            (CLEANUP, "cleanup-expired-bdrs", json!({})),
        ] {
            let deployed = Deployed::function(s.stack, output, package).await.unwrap();
            let log = s.stack.scratch_directory().join(format!("{package}-errors.log"));
            // The port of no server.
            let changed = [("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nowhere")];
            let mut function = Function::launch(&[], &deployed, &changed, &log).await.unwrap();
            for (payload, kind) in
                [(payload, "DatabaseUnavailable"), (deep.clone(), "InvalidPayload")]
            {
                let error = function.invoke(payload).await.unwrap_err();
                let error = format!("{error:#}");
                assert!(error.contains(&format!("\"errorType\":\"{kind}\"")), "{package}: {error}");
                assert!(!error.contains("127.0.0.1"), "{error}");
            }
            function.stop().await.unwrap();
        }
    });
}
