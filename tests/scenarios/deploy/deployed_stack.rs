//! The template and the deployed stack: rules that AWS enforces and the stand-in does not, and
//! values on which functions and queue must agree.

use std::collections::HashMap;
use std::path::Path;

use aws_sdk_lambda::types::FunctionResponseType;
use aws_sdk_sqs::types::QueueAttributeName;
use bdr_tests::template::Translation;
use bdr_tests::{Artwork, Scenario, scenario};
use local_stack::deployable;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Runs the AWS command line against the stack. A run takes 0.6 s of processor time, so scenarios use
/// an SDK for what they need more than once or twice.
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

/// Returns a client for the stack's Lambda.
pub(crate) fn lambda(s: &Scenario) -> aws_sdk_lambda::Client {
    aws_sdk_lambda::Client::new(&s.stack.sdk_config())
}

/// Returns the environment variables of a deployed function.
pub(crate) async fn variables(s: &Scenario, function: &str) -> HashMap<String, String> {
    let get = lambda(s).get_function_configuration().function_name(function);
    get.send().await.unwrap().environment.unwrap().variables.unwrap()
}

/// Packages `template.yaml` into this file, with intrinsic functions in their long form, as far as the
/// stand-in can deploy it.
pub(crate) async fn package(s: &Scenario, file: &Path) {
    std::fs::write(file, deployable(packaged(s).await).unwrap()).unwrap();
}

/// Returns `template.yaml` as `aws cloudformation package` writes it. All scenarios share the result,
/// because one run of the command takes 2 s of processor time.
async fn packaged(s: &Scenario) -> &'static [u8] {
    static PACKAGED: OnceCell<Vec<u8>> = OnceCell::const_new();
    let packaged = PACKAGED.get_or_init(async || {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("template.json");
        let package =
            ["cloudformation", "package", "--use-json", "--template-file", "template.yaml"];
        let output = ["--s3-bucket", "artifacts", "--output-template-file", file.to_str().unwrap()];
        aws(s, &[&package[..], &output].concat()).await;
        std::fs::read(file).unwrap()
    });
    packaged.await
}

/// Deploys or updates a stack from a packaged template.
pub(crate) async fn deploy(s: &Scenario, stack: &str, file: &Path, parameters: &[&str]) {
    let deploy = ["cloudformation", "deploy", "--stack-name", stack, "--capabilities"];
    let capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND", "--s3-bucket", "artifacts"];
    let template = ["--template-file", file.to_str().unwrap(), "--parameter-overrides"];
    aws(s, &[&deploy[..], &capabilities, &template, parameters].concat()).await;
}

/// Returns the packaged `template.yaml`.
pub(crate) async fn template(s: &Scenario) -> Value {
    serde_json::from_slice(packaged(s).await).unwrap()
}

/// Returns `template.yaml` translated for combinations of its optional parameters. All scenarios share the
/// result.
pub(crate) async fn translations(s: &Scenario) -> &'static [Translation] {
    static TRANSLATIONS: OnceCell<Vec<Translation>> = OnceCell::const_new();
    let translations = async || bdr_tests::template::translations(s, &template(s).await).await;
    TRANSLATIONS.get_or_init(translations).await
}

#[test]
fn queue_function_and_event_source_agree() {
    scenario(async |s| {
        let name = &s.stack.outputs()["ProcessBdrJobFunctionName"];
        let function = lambda(&s).get_function_configuration().function_name(name);
        let timeout = function.send().await.unwrap().timeout().unwrap();
        let environment = variables(&s, name).await;
        let queue = s.stack.queue_url().unwrap();
        let attributes = s.sqs.get_queue_attributes().queue_url(queue);
        let attributes = attributes.attribute_names(QueueAttributeName::All).send().await.unwrap();
        let attribute = |name| attributes.attributes().unwrap()[&name].as_str();

        let visibility: i32 = attribute(QueueAttributeName::VisibilityTimeout).parse().unwrap();
        assert!(visibility >= timeout, "AWS rejects less");
        let redrive: Value =
            serde_json::from_str(attribute(QueueAttributeName::RedrivePolicy)).unwrap();
        let max_receive_count = redrive["maxReceiveCount"].to_string().replace('"', "");
        assert_eq!(environment["MAX_RECEIVE_COUNT"], max_receive_count.as_str());
        assert_eq!(max_receive_count, "4");
        assert_eq!(environment["BDR_QUEUE_URL"], queue);
        assert_eq!(environment["VAULT_BUCKET"], s.bucket());
        let retention = attribute(QueueAttributeName::MessageRetentionPeriod);
        assert_eq!(retention, (4 * 86_400).to_string());

        let sources = lambda(&s).list_event_source_mappings().function_name(name);
        let sources = sources.send().await.unwrap();
        let source = &sources.event_source_mappings()[0];
        assert_eq!(
            source.batch_size(),
            Some(1),
            "a crash must not raise the receive counts of other messages"
        );
        let types = source.function_response_types();
        assert_eq!(types, [FunctionResponseType::ReportBatchItemFailures]);
        assert!(source.scaling_config().unwrap().maximum_concurrency().unwrap() >= 2);
    });
}

/// Invokes a deployed function as the API or an operator does. Returns its response and Lambda's
/// `FunctionError`.
pub(crate) async fn invoke(s: &Scenario, output: &str, payload: &Value) -> (Value, Option<String>) {
    let invoke = lambda(s).invoke().function_name(&s.stack.outputs()[output]);
    let result = invoke.payload(payload.to_string().into_bytes().into()).send().await.unwrap();
    let body = serde_json::from_slice(result.payload.unwrap().as_ref()).unwrap();
    (body, result.function_error)
}

#[test]
fn the_deployed_functions_presign_a_zip_and_expire_it() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        let payload = json!({"bdr_id": bdr_id, "user_id": s.user_id});
        let presign = async || invoke(&s, "PresignBdrDownloadFunctionName", &payload).await.0;
        assert_eq!(presign().await, json!({"status": "not_ready", "bdr_status": "pending"}));
        s.publish(bdr_id).await;
        let row = s.wait_for(bdr_id, "ready").await;
        let response = presign().await;
        assert_eq!(
            (&response["status"], &response["size_bytes"]),
            (&json!("ok"), &row["file_size_bytes"])
        );
        let client = local_stack::http::client().unwrap();
        let url = response["url"].as_str().unwrap();
        let zip = client.get(url).send().await.unwrap().bytes().await.unwrap();
        assert_eq!(zip, s.archive(bdr_id).await.unwrap().bytes);

        s.set(bdr_id, "expires_at = now() - interval '1 second'").await;
        let scheduled = json!({
            "version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
            "detail-type": "Scheduled Event", "source": "aws.scheduler",
            "account": "123456789012", "time": "2026-03-04T03:30:00Z", "region": "us-east-1",
            "resources": ["arn:aws:scheduler:us-east-1:123456789012:schedule/default/cleanup"],
            "detail": "{}",
        });
        let (report, error) = invoke(&s, "CleanupExpiredBdrsFunctionName", &scheduled).await;
        assert_eq!((&report["status"], error), (&json!("success"), None), "{report}");
        assert!(report["cleaned_up"].as_u64().unwrap() >= 1);
        assert_eq!(s.row(bdr_id).await["status"], "expired");
        assert!(s.archive(bdr_id).await.is_none());
        assert_eq!(presign().await, json!({"status": "expired"}));
    });
}

#[test]
fn a_malformed_presign_payload_returns_a_readable_error() {
    scenario(async |s| {
        let payload = json!({"bdr_id": "7"});
        let (body, error) = invoke(&s, "PresignBdrDownloadFunctionName", &payload).await;
        assert!(error.is_some());
        let message = body["errorMessage"].as_str().unwrap();
        assert!(message.contains(r#"{"bdr_id": "<uuid>", "user_id": <int>}"#), "{message}");
    });
}

#[test]
fn the_cleanup_is_scheduled_and_its_failures_are_queued() {
    scenario(async |s| {
        let template = template(&s).await;
        let resource = |id: &str| template["Resources"][id]["Properties"].clone();
        let failures = json!({"Fn::GetAtt": ["CleanupFailureQueue", "Arn"]});
        let invocation = resource("CleanupExpiredBdrsFunctionEventInvokeConfig");
        assert_eq!(invocation["MaximumRetryAttempts"], 2);
        assert_eq!(invocation["DestinationConfig"]["OnFailure"]["Destination"], failures);
        let schedule =
            |name: &str| resource(&format!("CleanupExpiredBdrsFunction{name}"))["Target"].clone();
        for name in ["Daily", "Hourly"] {
            assert_eq!(schedule(name)["DeadLetterConfig"]["Arn"], failures);
            assert!(schedule(name)["RetryPolicy"]["MaximumRetryAttempts"].as_u64().unwrap() >= 2);
        }
        let hourly: Value =
            serde_json::from_str(schedule("Hourly")["Input"].as_str().unwrap()).unwrap();
        assert_eq!(hourly, json!({"only": ["rescue", "republish"]}));
        assert_eq!(schedule("Daily")["Input"], "{}", "the daily run does all tasks");

        let schedules = aws(&s, &["scheduler", "list-schedules"]).await;
        let schedules = schedules["Schedules"].as_array().unwrap().clone();
        let target = &s.stack.outputs()["CleanupExpiredBdrsFunctionArn"];
        let ours = schedules.iter().filter(|schedule| schedule["Target"]["Arn"] == target.as_str());
        assert_eq!(ours.filter(|schedule| schedule["State"] == "ENABLED").count(), 2);
    });
}

#[test]
fn every_variable_is_documented_and_no_empty_one_is_set() {
    scenario(async |s| {
        let contract = include_str!("../../../docs/configuration.md");
        let mut set = Vec::new();
        for function in ["ProcessBdrJob", "CleanupExpiredBdrs", "PresignBdrDownload"] {
            let name = &s.stack.outputs()[&format!("{function}FunctionName")];
            set.extend(variables(&s, name).await.into_keys());
        }
        // `MALLOC_*` configures glibc, not the function.
        for variable in set.iter().filter(|variable| !variable.starts_with("MALLOC_")) {
            assert!(
                contract.contains(&format!("`{variable}`")),
                "docs/configuration.md does not describe {variable}"
            );
        }
        for absent in [
            "DATABASE_SECRET_ARN",
            "SQIDS_ALPHABET",
            "EXTRA_FORMATS",
            "VAULT_URL_PREFIXES",
            "BRAND_NAME",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ] {
            assert!(
                !set.iter().any(|variable| variable == absent),
                "{absent} is set though its parameter is empty"
            );
        }
    });
}

#[test]
fn the_vault_is_private_and_expires_archives_only() {
    scenario(async |s| {
        let template = template(&s).await;
        let bucket = &template["Resources"]["VaultBucket"];
        assert_eq!(
            (&bucket["DeletionPolicy"], &bucket["UpdateReplacePolicy"]),
            (&json!("RetainExceptOnCreate"), &json!("Retain"))
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
            "artworks must never expire"
        );

        // Seven days after the row expires, for every value that an operator may choose.
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
fn no_log_level_suppresses_the_metrics() {
    scenario(async |s| {
        // A metric line has no level, and Lambda treats it as INFO.
        let levels = &template(&s).await["Parameters"]["LogLevel"]["AllowedValues"];
        assert_eq!(levels, &json!(["DEBUG", "INFO"]));
    });
}
