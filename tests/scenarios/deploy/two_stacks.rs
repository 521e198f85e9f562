//! Two stacks in one account: neither counts, or is watched by, what the other one does.

use std::collections::{BTreeMap, BTreeSet};

use bdr_tests::in_process::now;
use bdr_tests::scenario::unique;
use bdr_tests::template::{references, text};
use bdr_tests::{Scenario, emf, scenario, scenario_apart};
use local_stack::{STACK, seed};
use serde_json::{Value, json};
use shared::metrics::NAMESPACE;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::deploy::deployed_stack::{aws, lambda, template};
use crate::deploy::stack_life::{Stack, local_stack_architecture};

/// A stack with the database and the vault of its site.
struct Site<'a> {
    s: &'a Scenario,
    stack: &'a str,
    outputs: &'a BTreeMap<String, String>,
    database: &'a Client,
    vault: &'a str,
}

impl Site<'_> {
    /// Has the stack build the ZIP of a new request, and waits until it is ready.
    async fn request(&self) -> Uuid {
        let Self { s, database, vault, .. } = self;
        let name = unique("u");
        let user = seed::User {
            handle: name.clone(),
            email: format!("{name}@example.org"),
            public_sqid: Some(name.clone()),
        };
        s.secrets.add(&user.email);
        let user_id = user.insert(database).await.unwrap();
        let key = format!("{name}/artwork");
        seed::put_artwork(&s.s3, vault, &key, b"pixels".to_vec()).await.unwrap();
        let post = seed::Post {
            owner_id: user_id,
            public_sqid: Some(name),
            title: "Untitled".to_owned(),
            description: None,
            hashtags: Vec::new(),
            art_url: Some(format!("/vault/{key}")),
            file_format: Some("png".to_owned()),
            width: 16,
            height: 16,
            frame_count: 1,
            created_at: now(),
        };
        let post_ids = vec![post.insert(database).await.unwrap()];
        let request = seed::Request { user_id, post_ids, ..seed::Request::default() };
        let bdr_id = request.insert(database).await.unwrap();
        seed::publish(&s.sqs, &self.outputs["QueueUrl"], bdr_id).await.unwrap();
        let query = "SELECT status FROM batch_download_requests WHERE id = $1";
        s.wait("the request becoming ready", async || {
            let status: String = database.query_one(query, &[&bdr_id]).await?.get(0);
            Ok((status == "ready").then_some(()))
        })
        .await;
        bdr_id
    }

    async fn clean_up(&self, event: Value) {
        let function = &self.outputs["CleanupExpiredBdrsFunctionName"];
        let invoke = lambda(self.s).invoke().function_name(function);
        let result = invoke.payload(event.to_string().into_bytes().into()).send().await.unwrap();
        assert_eq!(result.function_error, None);
    }

    /// Returns the lines of a function that emit metrics, once one of them contains `text`.
    async fn emitted(&self, function: &str, text: &str) -> Vec<Value> {
        let group = &self.outputs[&format!("{function}LogGroupName")];
        let what = format!("{group} containing {text}");
        self.s
            .wait(&what, async || {
                let lines = self.s.stack.log_group(group).await?;
                self.s.secrets.look_for_leaks(lines.iter().map(String::as_str));
                let lines = lines.iter().filter(|line| line.contains("CloudWatchMetrics"));
                let lines: Vec<_> = lines.cloned().collect();
                Ok(lines.iter().any(|line| line.contains(text)).then_some(lines))
            })
            .await
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Checks the dimension `stack` of everything that the stack emitted, of which one line is about this
    /// request and one about a cleanup. Returns the names of the metrics.
    async fn check_metrics(&self, bdr_id: Uuid) -> BTreeSet<String> {
        let of_request = self.emitted("ProcessBdrJob", &bdr_id.to_string()).await;
        let of_cleanup = self.emitted("CleanupExpiredBdrs", "cleanup").await;
        let mut names = BTreeSet::new();
        for line in of_request.into_iter().chain(of_cleanup) {
            emf::check(&line);
            assert_eq!(line["stack"], self.stack, "{line}");
            for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
                for dimensions in directive["Dimensions"].as_array().unwrap() {
                    let dimensions = dimensions.as_array().unwrap();
                    assert!(dimensions.contains(&json!("stack")), "{line}");
                }
                let metrics = directive["Metrics"].as_array().unwrap().iter();
                names.extend(metrics.map(|metric| text(&metric["Name"])));
            }
        }
        names
    }

    /// Checks that each alarm of the stack watches the stack alone; returns their number.
    async fn check_alarms(&self) -> usize {
        let describe = ["cloudformation", "describe-stack-resources", "--stack-name", self.stack];
        let resources = aws(self.s, &describe).await["StackResources"].as_array().unwrap().clone();
        let own: BTreeSet<_> = resources.iter().map(|it| text(&it["PhysicalResourceId"])).collect();
        let queues = own.iter().filter_map(|id| id.rsplit('/').next()).map(str::to_owned);
        let own: BTreeSet<_> = own.iter().cloned().chain(queues).collect();
        let alarms = aws(self.s, &["cloudwatch", "describe-alarms"]).await;
        let alarms = alarms["MetricAlarms"].as_array().unwrap().iter();
        let alarms: Vec<_> =
            alarms.filter(|alarm| own.contains(&text(&alarm["AlarmName"]))).collect();
        for alarm in &alarms {
            for dimension in alarm["Dimensions"].as_array().unwrap() {
                let value = text(&dimension["Value"]);
                match text(&dimension["Name"]).as_str() {
                    "stack" => assert_eq!(value, self.stack, "{alarm}"),
                    "FunctionName" | "QueueName" => assert!(own.contains(&value), "{alarm}"),
                    "status" => {}
                    other => panic!("unknown dimension {other}"),
                }
            }
        }
        alarms.len()
    }
}

#[test]
fn the_metrics_and_alarms_of_two_stacks_do_not_mix() {
    scenario_apart(async |s| {
        let stack = Stack::packaged(&s).await;
        let url = format!("DatabaseUrl={}", s.database_url);
        let architecture = format!("Architecture={}", local_stack_architecture());
        let bucket = format!("VaultBucketName={}", s.bucket());
        let sender = format!("EmailFrom={}", local_stack::EMAIL_FROM);
        stack.deploy(&[&url, &architecture, &bucket, &sender]).await;

        let (outputs, database) = (stack.outputs().await, s.stack.database().await.unwrap());
        let shared = Site {
            s: &s,
            stack: STACK,
            outputs: s.stack.outputs(),
            database: &database,
            vault: s.stack.bucket().unwrap(),
        };
        let beside = Site {
            s: &s,
            stack: &stack.name,
            outputs: &outputs,
            database: &s.database,
            vault: s.bucket(),
        };
        let ids = [shared.request().await, beside.request().await];
        // The other scenarios count what a full cleanup of the shared stack does.
        shared.clean_up(json!({"only": ["rescue"]})).await;
        beside.clean_up(json!({})).await;

        shared.check_metrics(ids[0]).await;
        let emitted = beside.check_metrics(ids[1]).await;
        for metric in ["bdr_status_total", "bdr_wait_seconds", "bdr_cleanup_completed_total"] {
            assert!(emitted.contains(metric), "{metric} is not among {emitted:?}");
        }
        let deployed = shared.check_alarms().await;
        assert!(deployed > 10, "{deployed} alarms");
        assert_eq!(beside.check_alarms().await, deployed);
        stack.delete().await;
    });
}

#[test]
fn every_watched_metric_belongs_to_the_stack() {
    scenario(async |s| {
        // The stand-in rejects the alarms on metric math, so the template's text is checked here.
        let template = template(&s).await;
        let resources = template["Resources"].as_object().unwrap();
        let mut checked = 0;
        for (id, alarm) in resources.iter().filter(|it| it.1["Type"] == "AWS::CloudWatch::Alarm") {
            let properties = &alarm["Properties"];
            let math = properties["Metrics"].as_array().into_iter().flatten();
            let math = math.filter_map(|it| it.get("MetricStat")).map(|it| &it["Metric"]);
            let alone = properties.get("Namespace").map(|_| properties);
            for metric in math.chain(alone) {
                let dimensions = metric["Dimensions"].as_array().into_iter().flatten();
                let is = |name: &str, value: &Value| value["Name"] == name;
                match text(&metric["Namespace"]).as_str() {
                    NAMESPACE => {
                        let mut stack = dimensions.filter(|it| is("stack", it));
                        let value = &stack.next().unwrap_or_else(|| panic!("{id}"))["Value"];
                        assert_eq!(value, &json!({"Ref": "AWS::StackName"}), "{id}");
                    }
                    // SES publishes them for the account.
                    "AWS/SES" => assert_eq!(dimensions.count(), 0, "{id}"),
                    _ => {
                        let mut names = dimensions.flat_map(|it| references(&it["Value"]));
                        assert!(names.any(|name| resources.contains_key(&name)), "{id}");
                    }
                }
                checked += 1;
            }
        }
        assert!(checked > 20, "{checked} metrics");
    });
}
