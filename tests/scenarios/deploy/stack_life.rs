//! The life of a stack: deployed, updated and deleted, with a vault that outlives it.

use std::collections::{BTreeMap, HashMap};
use std::process::{Command, Output};
use std::time::Duration;

use aws_sdk_cloudformation::client::Waiters as _;
use bdr_tests::scenario::unique;
use bdr_tests::template::Template;
use bdr_tests::{Scenario, scenario};
use serde_json::{Value, json};

use crate::deploy::deployed_stack::{aws, deploy, lambda, package, template, variables};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A stack of the template, and a folder with the packaged template.
pub(crate) struct Stack<'a> {
    s: &'a Scenario,
    /// The stack's name.
    pub(crate) name: String,
    folder: tempfile::TempDir,
}

impl<'a> Stack<'a> {
    pub(crate) async fn packaged(s: &'a Scenario) -> Self {
        let stack = Self { s, name: unique("life-"), folder: tempfile::tempdir().unwrap() };
        package(s, &stack.folder.path().join("template.json")).await;
        stack
    }

    /// Deploys or updates it.
    pub(crate) async fn deploy(&self, parameters: &[&str]) {
        deploy(self.s, &self.name, &self.folder.path().join("template.json"), parameters).await;
    }

    async fn output(&self, key: &str) -> String {
        self.outputs().await.remove(key).unwrap()
    }

    /// Returns the stack's outputs by name.
    pub(crate) async fn outputs(&self) -> BTreeMap<String, String> {
        let describe = self.cloudformation().describe_stacks().stack_name(&self.name);
        let stacks = describe.send().await.unwrap();
        let outputs = stacks.stacks()[0].outputs().iter();
        let outputs = outputs.map(|it| (it.output_key().unwrap(), it.output_value().unwrap()));
        outputs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    async fn variables(&self, function: &str) -> HashMap<String, String> {
        variables(self.s, function).await
    }

    pub(crate) async fn delete(&self) {
        let cloudformation = self.cloudformation();
        cloudformation.delete_stack().stack_name(&self.name).send().await.unwrap();
        let deleted = cloudformation.wait_until_stack_delete_complete().stack_name(&self.name);
        deleted.wait(Duration::from_mins(2)).await.unwrap();
    }

    fn cloudformation(&self) -> aws_sdk_cloudformation::Client {
        aws_sdk_cloudformation::Client::new(&self.s.stack.sdk_config())
    }
}

#[test]
fn a_stack_is_updated_and_deleted_and_its_vault_reused() {
    scenario(async |s| {
        let url = format!("DatabaseUrl={}", s.database_url);
        let architecture = format!("Architecture={}", local_stack_architecture());
        let stack = Stack::packaged(&s).await;
        stack.deploy(&[&url, &architecture, "ExpiresAfterDays=7"]).await;
        let function = stack.output("ProcessBdrJobFunctionName").await;
        assert_eq!(stack.variables(&function).await["EXPIRES_AFTER_DAYS"], "7");
        let bucket = stack.output("VaultBucketName").await;
        for key in ["8c/4f/original.png", "bdr/u/archive.zip"] {
            let put = s.s3.put_object().bucket(&bucket).key(key).body(b"kept".to_vec().into());
            put.send().await.unwrap();
        }

        stack.deploy(&["ExpiresAfterDays=30"]).await;
        assert_eq!(stack.output("ProcessBdrJobFunctionName").await, function, "updated in place");
        assert_eq!(stack.variables(&function).await["EXPIRES_AFTER_DAYS"], "30");
        assert_eq!(stack.output("VaultBucketName").await, bucket);

        let queue = stack.output("QueueUrl").await;
        stack.delete().await;
        assert!(s.sqs.get_queue_attributes().queue_url(queue).send().await.is_err());
        let functions = lambda(&s).list_functions().into_paginator().items().send();
        let functions = functions.collect::<Result<Vec<_>, _>>().await.unwrap();
        let functions: Vec<_> = functions.iter().filter_map(|it| it.function_name()).collect();
        assert!(functions.contains(&s.stack.outputs()["ProcessBdrJobFunctionName"].as_str()));
        assert!(!functions.contains(&function.as_str()), "{functions:?}");
        let objects = s.s3.list_objects_v2().bucket(&bucket).send().await.unwrap();
        let keys: Vec<_> = objects.contents().iter().filter_map(|object| object.key()).collect();
        assert_eq!(keys, ["8c/4f/original.png", "bdr/u/archive.zip"]);

        let next = Stack::packaged(&s).await;
        next.deploy(&[&url, &architecture, &format!("VaultBucketName={bucket}")]).await;
        let function = next.output("ProcessBdrJobFunctionName").await;
        assert_eq!(next.variables(&function).await["VAULT_BUCKET"], bucket.as_str());
        next.delete().await;
        s.s3.head_object().bucket(&bucket).key("8c/4f/original.png").send().await.unwrap();
    });
}

/// Returns this machine's processor as a value of the template's parameter `Architecture`.
pub(crate) fn local_stack_architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }
}

fn vault_lifecycle(s: &Scenario, endpoint: &str, arguments: &[&str]) -> Output {
    vault_script(s, "infra/vault-lifecycle.sh", endpoint, arguments)
}

/// Runs a script for an existing bucket as an operator does.
fn vault_script(s: &Scenario, script: &str, endpoint: &str, arguments: &[&str]) -> Output {
    let commands = s.stack.aws_command();
    let path = format!("{}:/usr/bin:/bin", commands.parent().unwrap().display());
    Command::new(format!("{ROOT}/{script}"))
        .args(arguments)
        .env_clear()
        .envs(s.stack.environment())
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_MAX_ATTEMPTS", "1")
        .env("PATH", path)
        .output()
        .unwrap()
}

/// Returns a bucket's lifecycle rules in the format of the S3 API.
async fn rules(s: &Scenario, bucket: &str) -> Vec<Value> {
    let get = ["s3api", "get-bucket-lifecycle-configuration", "--bucket", bucket];
    aws(s, &get).await["Rules"].as_array().unwrap().clone()
}

/// Converts a rule of the S3 API to the format of CloudFormation.
fn in_cloudformation_format(rule: &Value) -> Value {
    let mut converted = json!({ "Id": rule["ID"], "Status": rule["Status"] });
    match rule["Filter"]["Prefix"].as_str().unwrap() {
        "" => {}
        prefix => converted["Prefix"] = json!(prefix),
    }
    if let Some(days) = rule["Expiration"].get("Days") {
        converted["ExpirationInDays"] = days.clone();
    }
    for same in ["AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration"] {
        if let Some(value) = rule.get(same) {
            converted[same] = value.clone();
        }
    }
    converted
}

#[test]
fn an_existing_vault_gets_the_lifecycle_and_keeps_its_own() {
    scenario(async |s| {
        let template = Template(template(&s).await);
        let bucket = unique("v");
        s.s3.create_bucket().bucket(&bucket).send().await.unwrap();
        let run = |arguments: &[&str]| {
            let output = vault_lifecycle(&s, s.stack.endpoint(), arguments);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        for days in ["7", "1", "3", "14", "30"] {
            // 7 is the default: one run does not give it.
            let arguments = [bucket.as_str(), days];
            run(if days == "7" { &arguments[..1] } else { &arguments });
            let parameters = [("DatabaseUrl", "postgresql://h/d"), ("ExpiresAfterDays", days)];
            let stack = template.with(&parameters).unwrap();
            let vault = &stack["Resources"]["VaultBucket"]["Properties"];
            let set = rules(&s, &bucket).await;
            let set: Vec<Value> = set.iter().map(in_cloudformation_format).collect();
            assert_eq!(json!(set), vault["LifecycleConfiguration"]["Rules"]);
        }

        let own = json!({"Rules": [{
            "ID": "Thumbnails", "Status": "Enabled", "Filter": {"Prefix": "thumbnails/"},
            "Expiration": {"Days": 90},
        }]});
        let put = ["s3api", "put-bucket-lifecycle-configuration", "--bucket", &bucket];
        let own = ["--lifecycle-configuration", &own.to_string()];
        aws(&s, &[&put[..], &own].concat()).await;
        run(&[&bucket]);
        let kept = rules(&s, &bucket).await;
        let ids: Vec<_> = kept.iter().map(|rule| rule["ID"].as_str().unwrap()).collect();
        assert_eq!(ids, ["Thumbnails", "AbortIncompleteUploads", "ArchiveBackstop"]);
        assert_eq!(kept[0]["Expiration"]["Days"], 90);
    });
}

#[test]
fn a_lifecycle_that_cannot_be_read_is_not_replaced() {
    scenario(async |s| {
        let output = vault_lifecycle(&s, "http://127.0.0.1:9", &["the-artworks"]);
        assert!(!output.status.success());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(error.matches("Could not connect").count(), 1, "no second call: {error}");
    });
}

#[test]
fn an_existing_vault_gets_the_cors_rule_and_keeps_its_own() {
    scenario(async |s| {
        let origins = ["https://makapix.club", "http://localhost:3000"];
        let parameters = [("DatabaseUrl", "postgresql://h/d"), ("SiteOrigins", &origins.join(","))];
        let stack = Template(template(&s).await).with(&parameters).unwrap();
        let vault = &stack["Resources"]["VaultBucket"]["Properties"];
        let mut expected = vault["CorsConfiguration"]["CorsRules"][0].clone();
        for (name, in_s3) in
            [("Id", "ID"), ("ExposedHeaders", "ExposeHeaders"), ("MaxAge", "MaxAgeSeconds")]
        {
            expected[in_s3] = expected.as_object_mut().unwrap().remove(name).unwrap();
        }

        let bucket = unique("v");
        s.s3.create_bucket().bucket(&bucket).send().await.unwrap();
        let run = |arguments: &[&str]| {
            vault_script(&s, "infra/vault-cors.sh", s.stack.endpoint(), arguments)
        };
        let rules = async || {
            let get = ["s3api", "get-bucket-cors", "--bucket", &bucket];
            aws(&s, &get).await["CORSRules"].as_array().unwrap().clone()
        };
        let own = json!({"ID": "Thumbnails", "AllowedOrigins": ["https://cdn.example"], "AllowedMethods": ["GET"]});
        let configuration = json!({ "CORSRules": [own] }).to_string();
        let put = ["s3api", "put-bucket-cors", "--bucket", &bucket, "--cors-configuration"];
        aws(&s, &[&put[..], &[configuration.as_str()]].concat()).await;
        // The second run replaces the rule of the first.
        for arguments in [&[&bucket, "https://old.example"][..], &[&bucket, origins[0], origins[1]]]
        {
            let output = run(arguments);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        assert_eq!(rules().await, [own, expected.clone()]);

        let empty = unique("v");
        s.s3.create_bucket().bucket(&empty).send().await.unwrap();
        assert!(run(&[&empty, origins[0], origins[1]]).status.success());
        let get = ["s3api", "get-bucket-cors", "--bucket", &empty];
        assert_eq!(aws(&s, &get).await["CORSRules"], json!([expected]));

        let output =
            vault_script(&s, "infra/vault-cors.sh", "http://127.0.0.1:9", &[&bucket, origins[0]]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(error.matches("Could not connect").count(), 1, "no second call: {error}");
    });
}
