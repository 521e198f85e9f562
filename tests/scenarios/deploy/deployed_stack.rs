//! The template, as it is deployed and as it stands: what AWS enforces and the stand-in does not,
//! and what the functions and the queue must agree on.

use std::path::Path;

use bdr_tests::{Artwork, Scenario, scenario};
use serde_json::{Value, json};

/// Runs the AWS command line against the stack.
pub(crate) async fn aws(s: &Scenario, arguments: &[&str]) -> Value {
    let output = tokio::process::Command::new(s.stack.aws_command())
        .args(arguments)
        .args(["--output", "json", "--endpoint-url", s.stack.endpoint()])
        .envs(s.stack.environment())
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

/// Packages `template.yaml` into this file, with intrinsic functions in their long form.
pub(crate) async fn package(s: &Scenario, file: &Path) {
    let package = ["cloudformation", "package", "--use-json", "--template-file", "template.yaml"];
    let file = ["--s3-bucket", "artifacts", "--output-template-file", file.to_str().unwrap()];
    aws(s, &[&package[..], &file].concat()).await;
}

/// Deploys or updates a stack of a packaged template.
pub(crate) async fn deploy(s: &Scenario, stack: &str, file: &Path, parameters: &[&str]) {
    let deploy = ["cloudformation", "deploy", "--stack-name", stack, "--capabilities"];
    let capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND", "--s3-bucket", "artifacts"];
    let template = ["--template-file", file.to_str().unwrap(), "--parameter-overrides"];
    aws(s, &[&deploy[..], &capabilities, &template, parameters].concat()).await;
}

/// `template.yaml` as it is packaged.
pub(crate) async fn template(s: &Scenario) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("template.json");
    package(s, &file).await;
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[test]
fn queue_function_and_event_source_agree() {
    scenario(async |s| {
        let name = &s.stack.outputs()["ProcessBdrJobFunctionName"];
        let function =
            aws(&s, &["lambda", "get-function-configuration", "--function-name", name]).await;
        let environment = &function["Environment"]["Variables"];
        let queue = s.stack.queue_url().unwrap();
        let attributes = ["sqs", "get-queue-attributes", "--attribute-names", "All"];
        let attributes = aws(&s, &[&attributes[..], &["--queue-url", queue]].concat()).await;
        let attribute = |name: &str| attributes["Attributes"][name].as_str().unwrap().to_owned();

        let visibility: u64 = attribute("VisibilityTimeout").parse().unwrap();
        assert!(visibility >= function["Timeout"].as_u64().unwrap(), "AWS refuses less");
        let redrive: Value = serde_json::from_str(&attribute("RedrivePolicy")).unwrap();
        let max_receive_count = redrive["maxReceiveCount"].to_string().replace('"', "");
        assert_eq!(environment["MAX_RECEIVE_COUNT"], max_receive_count.as_str());
        assert_eq!(max_receive_count, "4");
        assert_eq!(environment["BDR_QUEUE_URL"], queue);
        assert_eq!(environment["VAULT_BUCKET"], s.bucket());
        assert_eq!(attribute("MessageRetentionPeriod"), (4 * 86_400).to_string());

        let sources = ["lambda", "list-event-source-mappings", "--function-name", name];
        let source = &aws(&s, &sources).await["EventSourceMappings"][0];
        assert_eq!(source["BatchSize"], 1, "a crash must not use up its neighbours' receives");
        assert_eq!(source["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
        assert!(source["ScalingConfig"]["MaximumConcurrency"].as_u64().unwrap() >= 2);
    });
}

/// Invokes a deployed function as the API or an operator does; returns its answer, and Lambda's own
/// word on an error.
async fn invoke(s: &Scenario, output: &str, payload: &Value) -> (Value, Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("answer.json");
    let (name, payload) = (&s.stack.outputs()[output], payload.to_string());
    let invoke = ["lambda", "invoke", "--function-name", name, "--payload", &payload];
    let answer = aws(s, &[&invoke[..], &[file.to_str().unwrap()]].concat()).await;
    let body = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    (body, answer["FunctionError"].clone())
}

#[test]
fn a_zip_is_handed_out_by_the_deployed_function_until_the_deployed_cleanup_ends_it() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        let question = json!({"bdr_id": bdr_id, "user_id": s.user_id});
        let presign = async || invoke(&s, "PresignBdrDownloadFunctionName", &question).await.0;
        assert_eq!(presign().await, json!({"status": "not_ready", "bdr_status": "pending"}));
        s.publish(bdr_id).await;
        let row = s.wait_for(bdr_id, "ready").await;
        let answer = presign().await;
        assert_eq!(
            (&answer["status"], &answer["size_bytes"]),
            (&json!("ok"), &row["file_size_bytes"])
        );
        let client = local_stack::http::client().unwrap();
        let url = answer["url"].as_str().unwrap();
        let zip = client.get(url).send().await.unwrap().bytes().await.unwrap();
        assert_eq!(zip, s.archive(bdr_id).await.unwrap().bytes);

        s.set(bdr_id, "expires_at = now() - interval '1 second'").await;
        let scheduled = json!({"version": "0", "source": "aws.scheduler", "detail": "{}"});
        let (report, error) = invoke(&s, "CleanupExpiredBdrsFunctionName", &scheduled).await;
        assert_eq!((&report["status"], &error), (&json!("success"), &Value::Null), "{report}");
        assert!(report["cleaned_up"].as_u64().unwrap() >= 1);
        assert_eq!(s.row(bdr_id).await["status"], "expired");
        assert!(s.archive(bdr_id).await.is_none());
        assert_eq!(presign().await, json!({"status": "expired"}));
    });
}

#[test]
fn a_malformed_question_is_an_error_that_the_caller_can_read() {
    scenario(async |s| {
        let question = json!({"bdr_id": "7"});
        let (body, error) = invoke(&s, "PresignBdrDownloadFunctionName", &question).await;
        assert_ne!(error, Value::Null);
        let message = body["errorMessage"].as_str().unwrap();
        assert!(message.contains(r#"{"bdr_id": "<uuid>", "user_id": <int>}"#), "{message}");
    });
}

#[test]
fn the_cleanup_is_scheduled_and_its_failures_are_heard_of() {
    scenario(async |s| {
        let template = template(&s).await;
        let cleanup = &template["Resources"]["CleanupExpiredBdrsFunction"]["Properties"];
        let failures = json!({"Fn::GetAtt": ["CleanupFailureQueue", "Arn"]});
        let invocation = &cleanup["EventInvokeConfig"];
        assert_eq!(invocation["MaximumRetryAttempts"], 2);
        assert_eq!(invocation["DestinationConfig"]["OnFailure"]["Destination"], failures);
        let schedule = |name: &str| cleanup["Events"][name]["Properties"].clone();
        for name in ["Daily", "Hourly"] {
            assert_eq!(schedule(name)["DeadLetterConfig"]["Arn"], failures);
            assert!(schedule(name)["RetryPolicy"]["MaximumRetryAttempts"].as_u64().unwrap() >= 2);
        }
        let hourly: Value =
            serde_json::from_str(schedule("Hourly")["Input"].as_str().unwrap()).unwrap();
        assert_eq!(hourly, json!({"only": ["rescue", "republish"]}));
        assert_eq!(schedule("Daily")["Input"], Value::Null, "everything");

        let schedules = aws(&s, &["scheduler", "list-schedules"]).await;
        let schedules = schedules["Schedules"].as_array().unwrap().clone();
        let target = &s.stack.outputs()["CleanupExpiredBdrsFunctionArn"];
        let ours = schedules.iter().filter(|schedule| schedule["Target"]["Arn"] == target.as_str());
        assert_eq!(ours.filter(|schedule| schedule["State"] == "ENABLED").count(), 2);
    });
}

#[test]
fn every_variable_of_the_template_is_told_of_and_none_is_set_but_empty() {
    scenario(async |s| {
        let contract = include_str!("../../../docs/configuration.md");
        let mut set = Vec::new();
        for function in ["ProcessBdrJob", "CleanupExpiredBdrs", "PresignBdrDownload"] {
            let name = &s.stack.outputs()[&format!("{function}FunctionName")];
            let function =
                aws(&s, &["lambda", "get-function-configuration", "--function-name", name]).await;
            let variables = function["Environment"]["Variables"].as_object().unwrap();
            set.extend(variables.keys().cloned());
        }
        // What glibc is told is no setting of ours.
        for variable in set.iter().filter(|variable| !variable.starts_with("MALLOC_")) {
            assert!(
                contract.contains(&format!("`{variable}`")),
                "docs/configuration.md does not describe {variable}"
            );
        }
        for absent in ["DATABASE_SECRET_ARN", "SQIDS_ALPHABET", "EXTRA_FORMATS"] {
            assert!(
                !set.iter().any(|variable| variable == absent),
                "{absent} is set though its parameter is empty"
            );
        }
    });
}

#[test]
fn the_vault_is_private_and_keeps_what_it_must_and_no_more() {
    scenario(async |s| {
        let template = template(&s).await;
        let bucket = &template["Resources"]["VaultBucket"];
        assert_eq!(
            (&bucket["DeletionPolicy"], &bucket["UpdateReplacePolicy"]),
            (&json!("Retain"), &json!("Retain"))
        );
        let properties = &bucket["Properties"];
        let block = properties["PublicAccessBlockConfiguration"].as_object().unwrap();
        assert!(block.len() == 4 && block.values().all(|value| value == &json!(true)), "{block:?}");
        assert!(properties["BucketEncryption"].is_object());

        let rules = properties["LifecycleConfiguration"]["Rules"].as_array().unwrap();
        let abort = rules.iter().find(|rule| rule.get("AbortIncompleteMultipartUpload").is_some());
        assert_eq!(abort.unwrap()["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"], 2);
        let expiring: Vec<&Value> =
            rules.iter().filter(|rule| rule.get("ExpirationInDays").is_some()).collect();
        assert!(
            !expiring.is_empty() && expiring.iter().all(|rule| rule["Prefix"] == "bdr/"),
            "artworks never expire"
        );

        // A week after the row expires, whatever the operator chooses.
        let days = &template["Parameters"]["ExpiresAfterDays"]["AllowedValues"];
        assert_eq!(days, &json!([1, 3, 7, 14, 30]));
        for day in days.as_array().unwrap() {
            let backstop = &template["Mappings"]["ArchiveBackstop"][day.to_string()]["Days"];
            assert_eq!(backstop.as_u64().unwrap(), day.as_u64().unwrap() + 7);
        }
        let policy = &template["Resources"]["VaultBucketPolicy"]["Properties"]["PolicyDocument"];
        let statement = &policy["Statement"][0];
        assert_eq!(statement["Effect"], "Deny");
        assert_eq!(statement["Condition"]["Bool"]["aws:SecureTransport"], "false");
    });
}

#[test]
fn the_log_level_can_never_swallow_metrics() {
    scenario(async |s| {
        // A metric line has no level, which Lambda takes for INFO.
        let levels = &template(&s).await["Parameters"]["LogLevel"]["AllowedValues"];
        assert_eq!(levels, &json!(["DEBUG", "INFO"]));
    });
}
