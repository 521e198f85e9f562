//! Releases: versions and the alias `live`, which everything that invokes a function follows.

use bdr_tests::template::{Template, Translation, references, text};
use bdr_tests::{Artwork, Scenario, scenario, scenario_apart};
use serde_json::{Value, json};

use crate::bdrctl::doctor::{examine, of_level};
use crate::deploy::deployed_stack::{lambda, template, translations};
use crate::deploy::stack_life::{Stack, local_stack_architecture};

/// Names of the functions in logical ids, and whether their alias can move gradually.
const FUNCTIONS: [(&str, bool); 3] =
    [("ProcessBdrJob", true), ("CleanupExpiredBdrs", false), ("PresignBdrDownload", true)];

/// Returns what is expected to invoke a function: its alias, or the function itself.
fn target(translation: &Translation, function: &str) -> String {
    let kind = if translation.parameters.contains_key("Release") { "Alias" } else { "Function" };
    format!("{function}{kind}")
}

#[test]
fn everything_that_invokes_a_function_follows_the_alias() {
    scenario(async |s| {
        let translations = translations(&s).await;
        let is_released = |it: &&Translation| it.parameters.contains_key("Release");
        let released = translations.iter().filter(is_released).count();
        assert!(released > 0 && released < translations.len(), "{released}");
        for translation in translations {
            let stack = translation.stack();
            let resource = |id: &str| &stack["Resources"][id]["Properties"];
            let refers = |value: &Value, function: &str| {
                let referred: Vec<_> = references(value).into_iter().collect();
                assert_eq!(referred, [target(translation, function)], "{value}");
            };
            refers(&resource("ProcessBdrJobFunctionRequests")["FunctionName"], "ProcessBdrJob");
            for schedule in ["Daily", "Hourly"] {
                let target = &resource(&format!("CleanupExpiredBdrsFunction{schedule}"))["Target"];
                refers(&target["Arn"], "CleanupExpiredBdrs");
            }
            let policy = &resource("CleanupScheduleRole")["Policies"][0]["PolicyDocument"];
            refers(&policy["Statement"][0]["Resource"], "CleanupExpiredBdrs");
            let runs = &resource("CleanupExpiredBdrsFunctionEventInvokeConfig")["Qualifier"];
            if is_released(&translation) {
                refers(runs, "CleanupExpiredBdrs");
            } else {
                assert_eq!(runs, "$LATEST");
            }
            for function in ["CleanupExpiredBdrs", "PresignBdrDownload"] {
                refers(&stack["Outputs"][&format!("{function}TargetArn")]["Value"], function);
            }
            for (function, _) in FUNCTIONS {
                let alias = resource(&format!("{function}Alias"));
                let name = if is_released(&translation) { json!("live") } else { Value::Null };
                assert_eq!(alias["Name"], name);
                // A metric with the function's name alone counts all its versions.
                for alarm in ["Errors", "Throttles", "Duration"] {
                    let alarm = resource(&format!("{function}{alarm}Alarm"));
                    let value = json!({ "Ref": format!("{function}Function") });
                    let dimension = json!([{ "Name": "FunctionName", "Value": value }]);
                    assert_eq!(alarm["Dimensions"], dimension);
                }
            }
        }
    });
}

#[test]
fn only_a_gradual_deployment_has_codedeploy() {
    scenario(async |s| {
        let template = Template(template(&s).await);
        let url = ("DatabaseUrl", "postgresql://u:p@h/d");
        let types = &template.0["Parameters"]["DeploymentType"]["AllowedValues"];
        let types: Vec<_> = types.as_array().unwrap().iter().map(text).collect();
        let codedeploy = |stack: &Value| {
            let resources = stack["Resources"].as_object().unwrap().values();
            let types = resources.map(|it| text(&it["Type"]));
            types.filter(|it| it.starts_with("AWS::CodeDeploy::")).count()
        };
        for parameters in [&[url][..], &[url, ("Release", "one")]] {
            let stack = template.with(parameters).unwrap();
            assert_eq!(codedeploy(&stack), 0);
            assert_eq!(stack["Resources"]["DeploymentRole"], Value::Null);
            assert!(!stack.to_string().contains("CodeDeploy"), "no update policy");
        }
        let gradual = [url, ("DeploymentType", &types[1])];
        let error = template.with(&gradual).unwrap_err();
        assert_eq!(error, ["DeploymentType is given without Release. Give this release a name."]);

        for kind in &types[1..] {
            let given = [url, ("Release", "one"), ("DeploymentType", kind)];
            let stack = template.with(&given).unwrap();
            assert_eq!(codedeploy(&stack), 3);
            for (function, is_gradual) in FUNCTIONS {
                let resource = |suffix: &str| &stack["Resources"][&format!("{function}{suffix}")];
                let policy = &resource("Alias")["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"];
                let group = resource("Deployments");
                assert_eq!((policy.is_object(), group.is_object()), (is_gradual, is_gradual));
                if !is_gradual {
                    continue;
                }
                let name = format!("{function}Deployments");
                assert_eq!(policy["DeploymentGroupName"], json!({ "Ref": name }));
                let group = &group["Properties"];
                // CodeDeploy's own configurations ("Working with deployment configurations").
                let config = format!("CodeDeployDefault.Lambda{kind}");
                assert_eq!(group["DeploymentConfigName"], json!(config));
                assert_eq!(group["AutoRollbackConfiguration"]["Enabled"], true);
                let alarms = group["AlarmConfiguration"]["Alarms"].as_array().unwrap();
                // At most ten ("AlarmConfiguration", CodeDeploy API Reference).
                assert!((1..=10).contains(&alarms.len()));
                for alarm in alarms {
                    let id = text(&alarm["Name"]["Ref"]);
                    let kind = &stack["Resources"][&id]["Type"];
                    assert_eq!(kind, "AWS::CloudWatch::Alarm", "{id}");
                }
            }
        }
    });
}

/// Returns the version of a function that an alias names, if the alias exists.
async fn live(s: &Scenario, function: &str) -> Option<String> {
    let get = lambda(s).get_alias().function_name(function).name("live").send().await;
    get.ok().map(|alias| alias.function_version.unwrap())
}

#[test]
fn a_release_moves_the_alias_and_its_removal_leads_back_to_the_function() {
    scenario_apart(async |s| {
        let stack = Stack::packaged(&s).await;
        let url = format!("DatabaseUrl={}", s.database_url);
        let architecture = format!("Architecture={}", local_stack_architecture());
        let bucket = format!("VaultBucketName={}", s.bucket());
        stack.deploy(&[&url, &architecture, &bucket]).await;
        let outputs = stack.outputs().await;
        let process = &outputs["ProcessBdrJobFunctionName"];
        let presign = &outputs["PresignBdrDownloadFunctionName"];
        assert_eq!(
            outputs["PresignBdrDownloadTargetArn"],
            outputs["PresignBdrDownloadFunctionArn"]
        );
        assert_eq!(live(&s, process).await, None);

        let source = async || {
            let sources = lambda(&s).list_event_source_mappings().send().await.unwrap();
            let sources = sources.event_source_mappings.unwrap_or_default().into_iter();
            let arn = Some(outputs["QueueArn"].as_str());
            let mut of_queue = sources.filter(|it| it.event_source_arn() == arn);
            of_queue.next().unwrap().function_arn.unwrap()
        };
        let ask = async |function: &str, bdr_id| {
            let question = json!({"bdr_id": bdr_id, "user_id": s.user_id}).to_string();
            let invoke = lambda(&s).invoke().function_name(function);
            let result = invoke.payload(question.into_bytes().into()).send().await.unwrap();
            let answer = result.payload.unwrap().into_inner();
            serde_json::from_slice::<Value>(&answer).unwrap()["status"].clone()
        };
        let post = s.artwork(Artwork::default()).await;
        for (release, version) in [("one", "1"), ("two", "2")] {
            stack.deploy(&[&format!("Release={release}")]).await;
            assert_eq!(live(&s, process).await.as_deref(), Some(version));
            assert!(source().await.ends_with(":live"), "the queue follows the alias");
            let bdr_id = s.request(&[post]).await;
            local_stack::seed::publish(&s.sqs, &outputs["QueueUrl"], bdr_id).await.unwrap();
            s.wait_for(bdr_id, "ready").await;
            // Through the alias, and by the name that the API had before.
            let target = &stack.outputs().await["PresignBdrDownloadTargetArn"];
            assert!(target.ends_with(":live"), "{target}");
            for function in [target, presign] {
                assert_eq!(ask(function, bdr_id).await, "ok", "{function}");
            }
        }

        let (findings, _) = examine(&s, &["--stack", &stack.name]).await;
        let ok = of_level(&findings, "ok");
        for found in
            ["event source: state is Enabled", "schedules: 2 of 2 cleanup schedules are enabled"]
        {
            assert!(ok.iter().any(|it| it == found), "{findings:#?}");
        }

        // As docs/deploy.md warns: the parameter is not live without another name.
        stack.deploy(&["ExpiresAfterDays=30"]).await;
        assert_eq!(live(&s, process).await.as_deref(), Some("2"));
        let of_alias = lambda(&s).get_function_configuration().function_name(process);
        let of_alias = of_alias.qualifier("live").send().await.unwrap().environment.unwrap();
        assert_eq!(of_alias.variables.unwrap()["EXPIRES_AFTER_DAYS"], "7");

        stack.deploy(&["Release="]).await;
        assert_eq!(live(&s, process).await, None);
        assert!(!source().await.ends_with(":live"), "the queue leads to the function");
        stack.delete().await;
    });
}
