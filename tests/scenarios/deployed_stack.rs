//! The template, as it is deployed and as it stands: what AWS enforces and the stand-in does not,
//! and what the functions and the queue must agree on.

use bdr_tests::{Scenario, scenario};
use serde_json::{Value, json};

/// Runs the AWS command line against the stack.
async fn aws(s: &Scenario, arguments: &[&str]) -> Value {
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

/// The resources of `template.yaml`, with intrinsic functions in their long form.
async fn template(s: &Scenario) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("template.json");
    let file = file.to_str().unwrap();
    let package = ["cloudformation", "package", "--use-json", "--template-file", "template.yaml"];
    let output = ["--s3-bucket", "artifacts", "--output-template-file", file];
    let mut command = tokio::process::Command::new(s.stack.aws_command());
    command.args(package).args(output).args(["--endpoint-url", s.stack.endpoint()]);
    command.envs(s.stack.environment()).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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

#[test]
fn every_variable_of_the_template_is_read_and_every_required_one_is_there() {
    scenario(async |s| {
        let name = &s.stack.outputs()["ProcessBdrJobFunctionName"];
        let function =
            aws(&s, &["lambda", "get-function-configuration", "--function-name", name]).await;
        let set = function["Environment"]["Variables"].as_object().unwrap();
        let contract = include_str!("../../README.md");
        for variable in set.keys().filter(|variable| *variable != "MALLOC_ARENA_MAX") {
            assert!(
                contract.contains(&format!("`{variable}`")),
                "README does not tell of {variable}"
            );
        }
        for absent in ["DATABASE_SECRET_ARN", "SQIDS_ALPHABET", "EXTRA_FORMATS"] {
            assert!(!set.contains_key(absent), "{absent} is set though its parameter is empty");
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
        assert_eq!(levels, &json!(["TRACE", "DEBUG", "INFO"]));
    });
}
