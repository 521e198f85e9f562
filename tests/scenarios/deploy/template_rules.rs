//! Rules of AWS that the stand-in does not enforce.

use std::collections::BTreeSet;

use bdr_tests::template::{Template, references};
use bdr_tests::{Scenario, doc_commands, scenario};
use serde_json::{Value, json};
use shared::lambda::ErrorType;

use crate::deploy::deployed_stack::{template, translations};

const URL: (&str, &str) = ("DatabaseUrl", "postgresql://u:p@h/d");
const SECRET: (&str, &str) =
    ("DatabaseSecretArn", "arn:aws:secretsmanager:us-east-1:000000000000:secret:bdr-AbCdEf");
const HOST: (&str, &str) = ("DatabaseHost", "proxy.example");
const BUCKET: (&str, &str) = ("VaultBucketName", "the-artworks");
const KEY: (&str, &str) =
    ("KmsKeyArn", "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000");
const SUBNETS: (&str, &str) = ("VpcSubnetIds", "subnet-0123456a,subnet-0123456b");
const GROUPS: (&str, &str) = ("VpcSecurityGroupIds", "sg-0123456c");
const LAYER: (&str, &str) =
    ("CollectorLayerArn", "arn:aws:lambda:us-east-1:000000000000:layer:collector:1");
const ORIGINS: (&str, &str) = ("SiteOrigins", "https://makapix.club,https://*.makapix.club");

const FUNCTIONS: [&str; 3] =
    ["ProcessBdrJobFunction", "CleanupExpiredBdrsFunction", "PresignBdrDownloadFunction"];

async fn parsed(s: &Scenario) -> Template {
    Template(template(s).await)
}

/// Returns the resources of a type with their logical ids.
fn of_type<'a>(stack: &'a Value, kind: &str) -> Vec<(&'a String, &'a Value)> {
    let resources = stack["Resources"].as_object().unwrap().iter();
    resources.filter(|(_, resource)| resource["Type"] == kind).collect()
}

fn within(value: &Value, least: u64, most: u64) {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    assert!(number.is_some_and(|n| (least..=most).contains(&n)), "{value}: {least} to {most}");
}

#[test]
fn contradictory_parameters_are_rejected_with_a_reason() {
    scenario(async |s| {
        let template = parsed(&s).await;
        let rejected: [(&[_], &str); 7] = [
            (&[], "Give one of them."),
            (&[("DatabaseUrl", "none")], "Give one of them."),
            (&[URL, SECRET], "Leave one empty."),
            (&[URL, HOST], "Put the host into DatabaseUrl instead."),
            (&[URL, SUBNETS], "Give both, or leave both empty."),
            (&[URL, GROUPS], "Give both, or leave both empty."),
            (&[URL, LAYER], "such as http://localhost:4318."),
        ];
        for (parameters, reason) in rejected {
            let errors = template.with(parameters).unwrap_err();
            assert!(errors.len() == 1 && errors[0].ends_with(reason), "{errors:?}");
        }
        template.with(&[SECRET, ("DatabaseUrl", "none")]).unwrap();
    });
}

#[test]
fn every_reference_points_to_a_created_resource() {
    scenario(async |s| {
        for translation in translations(&s).await {
            let stack = translation.stack();
            let created: BTreeSet<_> =
                stack["Resources"].as_object().unwrap().keys().cloned().collect();
            let missing = references(&stack).difference(&created).cloned().collect::<Vec<_>>();
            assert!(missing.is_empty(), "{:?}: {missing:?}", translation.parameters);
        }
    });
}

#[test]
fn queues_outlast_functions_and_dead_letters_outlast_queues() {
    scenario(async |s| {
        let stack = parsed(&s).await.with(&[URL]).unwrap();
        let resource = |id: &str| stack["Resources"][id]["Properties"].clone();
        let (queue, dead) = (resource("BdrQueue"), resource("BdrDeadLetterQueue"));
        // Lambda rejects an event source whose visibility timeout is shorter than the function's
        // timeout. SQS allows 12 hours.
        let timeout = resource("ProcessBdrJobFunction")["Timeout"].as_u64().unwrap();
        within(&queue["VisibilityTimeout"], timeout, 43_200);
        // SQS keeps a message for at most 14 days, and the move to the dead-letter queue does not
        // reset its age.
        let retention = queue["MessageRetentionPeriod"].as_u64().unwrap();
        within(&queue["MessageRetentionPeriod"], 60, 1_209_600);
        within(&dead["MessageRetentionPeriod"], retention + 1, 1_209_600);
        within(&queue["RedrivePolicy"]["maxReceiveCount"], 1, 1_000);
    });
}

#[test]
fn the_functions_stay_within_the_limits_of_lambda() {
    scenario(async |s| {
        let template = parsed(&s).await;
        let concurrencies = &template.0["Parameters"]["MaximumConcurrency"]["AllowedValues"];
        for concurrency in concurrencies.as_array().unwrap() {
            let chosen = concurrency.to_string();
            let stack = template.with(&[URL, ("MaximumConcurrency", &chosen)]).unwrap();
            let job = &stack["Resources"]["ProcessBdrJobFunction"]["Properties"];
            let source = &stack["Resources"]["ProcessBdrJobFunctionRequests"]["Properties"];
            assert_eq!(&source["ScalingConfig"]["MaximumConcurrency"], concurrency);
            within(concurrency, 2, 1_000);
            within(&source["BatchSize"], 1, 10);
            // If the event source may start more than the reserved concurrency, messages are
            // throttled and reach the dead-letter queue without a single attempt.
            if let Some(reserved) = job.get("ReservedConcurrentExecutions") {
                within(reserved, concurrency.as_u64().unwrap(), u64::MAX);
            }
        }
        // A new account has a concurrency of 10; some of it must stay for downloads and cleanup.
        within(&template.0["Parameters"]["MaximumConcurrency"]["Default"], 2, 8);
        for size in ["ProcessMemorySize", "CleanupMemorySize"] {
            within(&template.0["Parameters"][size]["MinValue"], 128, 10_240);
            within(&template.0["Parameters"][size]["MaxValue"], 128, 10_240);
        }

        let stack = template.with(&[URL]).unwrap();
        let functions = of_type(&stack, "AWS::Serverless::Function");
        assert_eq!(functions.len(), FUNCTIONS.len());
        for (id, function) in functions {
            assert!(FUNCTIONS.contains(&id.as_str()), "unknown function {id}");
            within(&function["Properties"]["Timeout"], 1, 900);
            within(&function["Properties"]["MemorySize"], 128, 10_240);
        }
        let invocations = &stack["Resources"]["CleanupExpiredBdrsFunctionEventInvokeConfig"];
        let invocation = &invocations["Properties"];
        within(&invocation["MaximumRetryAttempts"], 0, 2);
        within(&invocation["MaximumEventAgeInSeconds"], 60, 21_600);
        let schedules = of_type(&stack, "AWS::Scheduler::Schedule");
        assert_eq!(schedules.len(), 2);
        for (_, schedule) in schedules {
            let retry = &schedule["Properties"]["Target"]["RetryPolicy"];
            within(&retry["MaximumRetryAttempts"], 0, 185);
            within(&retry["MaximumEventAgeInSeconds"], 60, 86_400);
        }
    });
}

#[test]
fn logs_are_json_with_a_level_and_an_allowed_retention() {
    scenario(async |s| {
        let template = parsed(&s).await;
        let stack = template.with(&[URL]).unwrap();
        // Lambda rejects a log level together with the text format.
        let logging = &stack["Globals"]["Function"]["LoggingConfig"];
        assert_eq!(
            (&logging["LogFormat"], &logging["ApplicationLogLevel"]),
            (&json!("JSON"), &json!("INFO"))
        );
        let groups = of_type(&stack, "AWS::Logs::LogGroup");
        assert_eq!(groups.len(), FUNCTIONS.len());
        for (id, group) in groups {
            // A number, or a string if it comes from a parameter.
            let days = group["Properties"]["RetentionInDays"].to_string();
            assert_eq!(days.trim_matches('"'), "30", "{id}");
        }
        let offered = [
            1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557,
            2922, 3288, 3653,
        ];
        let allowed = &template.0["Parameters"]["LogRetentionDays"]["AllowedValues"];
        assert_eq!(allowed, &json!(offered));
    });
}

#[test]
fn a_vpc_applies_to_all_functions_and_roles_or_none() {
    scenario(async |s| {
        let template = parsed(&s).await;
        let policies = |stack: &Value| {
            let text = of_type(stack, "AWS::IAM::Role")
                .iter()
                .map(|(_, r)| r.to_string())
                .collect::<String>();
            text.matches(r#""PolicyName":"network""#).count()
        };
        let outside = template.with(&[URL]).unwrap();
        assert_eq!(outside["Globals"]["Function"].get("VpcConfig"), None);
        assert_eq!(policies(&outside), 0);
        let inside = template.with(&[URL, SUBNETS, GROUPS]).unwrap();
        let config = json!({
            "SubnetIds": ["subnet-0123456a", "subnet-0123456b"], "SecurityGroupIds": ["sg-0123456c"],
        });
        assert_eq!(inside["Globals"]["Function"]["VpcConfig"], config);
        assert_eq!(policies(&inside), FUNCTIONS.len());
        for function in FUNCTIONS {
            let own = &inside["Resources"][function]["Properties"];
            assert_eq!(own.get("VpcConfig"), None, "{function} has its own VpcConfig");
        }
    });
}

#[test]
fn only_the_main_function_has_a_collector() {
    scenario(async |s| {
        let template = parsed(&s).await;
        let endpoint = ("OtlpEndpoint", "http://localhost:4318");
        for parameters in [&[URL][..], &[URL, endpoint], &[URL, endpoint, LAYER]] {
            let is_given = |name| parameters.iter().find(|it| it.0 == name).map(|it| it.1);
            let stack = template.with(parameters).unwrap();
            for function in FUNCTIONS {
                let own = &stack["Resources"][function]["Properties"];
                let is_main = function == "ProcessBdrJobFunction";
                let layers = is_given(LAYER.0).filter(|_| is_main).map(|arn| json!([arn]));
                assert_eq!(own.get("Layers"), layers.as_ref(), "{function}");
                let variable = own["Environment"]["Variables"].get("OTEL_EXPORTER_OTLP_ENDPOINT");
                let url = is_given(endpoint.0).filter(|_| is_main).map(Value::from);
                assert_eq!(variable, url.as_ref(), "{function}");
            }
            let roles = json!(of_type(&stack, "AWS::IAM::Role")).to_string();
            let may_send = roles.matches("xray:").count();
            assert_eq!(may_send, usize::from(is_given(LAYER.0).is_some()));
        }
    });
}

#[test]
fn an_existing_vault_is_used_but_not_managed() {
    scenario(async |s| {
        let template = parsed(&s).await;
        let (new, existing) =
            (template.with(&[SECRET]).unwrap(), template.with(&[SECRET, BUCKET]).unwrap());
        for kind in ["AWS::S3::Bucket", "AWS::S3::BucketPolicy"] {
            assert_eq!((of_type(&new, kind).len(), of_type(&existing, kind).len()), (1, 0));
        }
        let variables = &existing["Globals"]["Function"]["Environment"]["Variables"];
        assert_eq!(variables["VAULT_BUCKET"], "the-artworks");
        assert_eq!(existing["Outputs"]["VaultBucketName"]["Value"], "the-artworks");
        // The roles have the same permissions on the existing bucket.
        let roles = |stack: &Value| json!(of_type(stack, "AWS::IAM::Role")).to_string();
        let expected = roles(&new)
            .replace("${VaultBucket.Arn}", "arn:aws:s3:::the-artworks")
            .replace(r#"{"Fn::GetAtt":["VaultBucket","Arn"]}"#, r#""arn:aws:s3:::the-artworks""#);
        assert!(expected.contains("the-artworks/bdr/*"));
        assert_eq!(expected, roles(&existing));
    });
}

#[test]
fn pages_of_the_named_origins_and_no_others_may_read_the_vault() {
    scenario(async |s| {
        let template = parsed(&s).await;
        let cors = |parameters: &[(&str, &str)]| {
            let stack = template.with(parameters).unwrap();
            stack["Resources"]["VaultBucket"]["Properties"].get("CorsConfiguration").cloned()
        };
        // CloudFormation rejects an empty configuration.
        assert_eq!(cors(&[URL]), None);
        let rules = cors(&[URL, ORIGINS]).unwrap()["CorsRules"].clone();
        let [rule] = &rules.as_array().unwrap()[..] else { panic!("{rules}") };
        assert_eq!(
            rule["AllowedOrigins"],
            json!(["https://makapix.club", "https://*.makapix.club"])
        );
        assert_eq!(rule["AllowedMethods"], json!(["GET", "HEAD"]), "pages only read");
        assert_eq!(rule["AllowedHeaders"], json!(["Range"]));
        for header in ["Content-Disposition", "Content-Length", "Content-Range", "ETag"] {
            assert!(
                rule["ExposedHeaders"].as_array().unwrap().contains(&json!(header)),
                "{header}"
            );
        }
        // S3 stores an id of at most 255 characters ("CORSRule", Amazon S3 API Reference).
        assert_eq!(rule["Id"], "SiteDownloads");
    });
}

#[test]
fn site_origins_are_scheme_host_and_port() {
    scenario(async |s| {
        let pattern = parsed(&s).await.0["Parameters"]["SiteOrigins"]["AllowedPattern"].clone();
        let values = json!([
            "",
            "https://makapix.club",
            "http://localhost:3000,https://a.b.example:8443",
            "http://127.0.0.1:*,https://*.makapix.club",
            "https://makapix.club/",
            "makapix.club",
            "*",
            "https://a.example, https://b.example",
            "https://*.a.example:*",
            "https://a.example,",
        ]);
        let script = format!(
            "import json, re\nvalues = json.loads('{values}')\n\
             print([bool(re.search({pattern}, value)) for value in values])"
        );
        let accepted = doc_commands::python(&s, &script).await.unwrap();
        let [yes, no] = [["True"; 4].join(", "), ["False"; 6].join(", ")];
        assert_eq!(accepted, format!("[{yes}, {no}]"));
    });
}

#[test]
fn a_custom_key_encrypts_private_data_through_its_services_only() {
    scenario(async |s| {
        let template = parsed(&s).await;
        let (without, with) =
            (template.with(&[SECRET]).unwrap(), template.with(&[SECRET, KEY]).unwrap());
        assert!(!without.to_string().contains("kms:"), "AWS's own keys need no permission");
        for queue in ["BdrQueue", "BdrDeadLetterQueue"] {
            let properties = |stack: &Value| stack["Resources"][queue]["Properties"].clone();
            assert_eq!(properties(&without)["SqsManagedSseEnabled"], true);
            assert_eq!(properties(&without).get("KmsMasterKeyId"), None);
            // SQS rejects both together.
            assert_eq!(properties(&with).get("SqsManagedSseEnabled"), None);
            assert_eq!(properties(&with)["KmsMasterKeyId"], KEY.1);
        }
        for (id, group) in of_type(&with, "AWS::Logs::LogGroup") {
            assert_eq!(group["Properties"]["KmsKeyId"], KEY.1, "{id}");
        }
        let encryption = &with["Resources"]["VaultBucket"]["Properties"]["BucketEncryption"];
        let rule = &encryption["ServerSideEncryptionConfiguration"][0];
        let default = &rule["ServerSideEncryptionByDefault"];
        assert_eq!(default, &json!({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY.1}));

        let mut statements = 0;
        // The role of the schedules handles no private data.
        for id in
            ["ProcessBdrJobRole", "CleanupExpiredBdrsRole", "PresignBdrDownloadRole", "ApiPolicy"]
        {
            let text = with["Resources"][id].to_string();
            let with_key = text.matches(&format!(r#""Resource":"{}""#, KEY.1)).count();
            assert!(with_key > 0, "{id} cannot use the key");
            assert_eq!(text.matches("kms:ViaService").count(), with_key, "{id}");
            statements += with_key;
        }
        assert!(!with["Resources"]["CleanupScheduleRole"].to_string().contains("kms:"));
        assert_eq!(statements, 6);
    });
}

#[test]
fn large_exports_can_be_left_out() {
    scenario(async |s| {
        let template = parsed(&s).await;
        let (with, without) = (
            template.with(&[URL]).unwrap(),
            template.with(&[URL, ("LargeExports", "false")]).unwrap(),
        );
        let names = |stack: &Value| {
            let members =
                ["Resources", "Outputs"].map(|section| stack[section].as_object().unwrap());
            members.iter().flat_map(|it| it.keys().cloned()).collect::<BTreeSet<_>>()
        };
        let left_out: Vec<_> = names(&with).difference(&names(&without)).cloned().collect();
        let expected = [
            "ExportStateMachine",
            "ExportStateMachineArn",
            "ExportStateMachineRole",
            "ExportsFailedAlarm",
        ];
        assert_eq!(left_out, expected);
        let without = without.to_string();
        for part in ["states:", "EXPORT_STATE_MACHINE_ARN", "SEGMENT_BYTES"] {
            assert!(with.to_string().contains(part) && !without.contains(part), "{part}");
        }
    });
}

#[test]
fn each_step_of_the_state_machine_is_tried_again_and_its_failure_caught() {
    scenario(async |s| {
        let stack = parsed(&s).await.with(&[URL, ("ExportConcurrency", "7")]).unwrap();
        let machine = &stack["Resources"]["ExportStateMachine"]["Properties"];
        let machine: Value =
            serde_json::from_str(machine["DefinitionString"]["Fn::Sub"][0].as_str().unwrap())
                .unwrap();
        let states = &machine["States"];
        let (map, finish, fail) =
            (&states["WriteSegments"], &states["FinishExport"], &states["FailExport"]);
        // Step Functions, "Map state in Inline mode".
        within(&map["MaxConcurrency"], 1, 40);
        assert_eq!(map["MaxConcurrency"], 7);
        let write = &map["ItemProcessor"]["States"]["WriteSegment"];
        let permanent = ErrorType::ALL.into_iter().filter(|kind| kind.is_permanent());
        let permanent: Vec<_> = permanent.map(ErrorType::as_str).collect();
        for task in [write, finish, fail] {
            let [never, retry] = &task["Retry"].as_array().unwrap()[..] else { panic!("{task}") };
            assert_eq!(never, &json!({"ErrorEquals": permanent, "MaxAttempts": 0}));
            assert_eq!(retry["ErrorEquals"], json!(["States.ALL"]));
            // An interval is positive; the function counts four tries.
            within(&retry["IntervalSeconds"], 1, 600);
            assert_eq!(retry["MaxAttempts"], 3);
            // Above the timeout of the function.
            within(&task["TimeoutSeconds"], 901, 1000);
        }
        for state in [map, finish] {
            assert_eq!(state["Catch"][0]["ErrorEquals"], json!(["States.ALL"]));
            assert_eq!(state["Catch"][0]["Next"], "FailExport");
        }
        // The cleanup marks a row failed that is processing for 6 hours.
        within(&machine["TimeoutSeconds"], 3600, 6 * 3600 - 1);
        assert_eq!(states["Failed"]["Type"], "Fail");
    });
}
