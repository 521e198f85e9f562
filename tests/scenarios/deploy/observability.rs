//! Every attempt and every cleanup run emits one event, and dashboard and alarms watch metrics that
//! are emitted.

use std::collections::BTreeSet;
use std::path::Path;

use bdr_tests::in_process::{Cleaner, canary};
use bdr_tests::lambda::{Deployed, EventSource, TestQueue};
use bdr_tests::scenario::unique;
use bdr_tests::template::{Template, text};
use bdr_tests::{Artwork, Delivery, Scenario, emf, scenario, scenario_apart};
use process_bdr_job::outcome::AttemptOutcome;
use process_bdr_job::phases::Phase;
use serde_json::{Value, json};
use shared::metrics;

use crate::deploy::deployed_stack::{aws, deploy, template};
use crate::process::email::give_ses;
use crate::process::large_exports;

/// Returns the wide events among the emitted lines: those that count an attempt or a run.
fn events(s: &Scenario) -> Vec<Value> {
    let is_event = |line: &Value| {
        line.get("bdr_attempts_retried_total").is_some() || line["event"] == "cleanup"
    };
    s.log.emitted().into_iter().filter(is_event).collect()
}

#[test]
fn every_attempt_emits_one_event_with_the_declared_metrics() {
    scenario_apart(async |s| {
        let worker = s.worker(&[]).await;
        let there = s.artwork(Artwork::default()).await;
        let gone = s.artwork(Artwork { file: None, ..Artwork::default() }).await;

        let ready = s.request(&[there, gone]).await;
        assert_eq!(worker.receive(ready).await, Delivery::Acknowledged);
        let event = events(&s).remove(0);
        assert_eq!(event["status"], "ready");
        assert_eq!(event["bdr_id"], ready.to_string());
        assert!(event["bdr_processing_duration_seconds"].as_f64().unwrap() > 0.0);
        assert_eq!(event["bdr_file_size_bytes"], s.row(ready).await["file_size_bytes"]);
        assert_eq!(
            (&event["bdr_artworks_count"], &event["bdr_status_total"]),
            (&json!(1), &json!(1))
        );
        assert_eq!(event["bdr_artworks_failed_total"], 1);
        assert_eq!(event["bdr_email_failed_total"], 0);
        let outcome = s.log.outcome();
        let phases = ["claim", "load", "fetch", "write", "upload", "finish", "notify"];
        let spent = phases.map(|phase| outcome[format!("{phase}_ms")].as_u64().unwrap());
        let duration = outcome["duration_ms"].as_u64().unwrap();
        let sum: u64 = spent.iter().sum();
        assert!(
            sum <= duration && duration - sum <= 7,
            "{sum} of {duration} ms: only rounding may differ"
        );
        assert!(outcome["gb_seconds"].as_f64().unwrap() > 0.0);

        let failed = s.request(&[gone]).await;
        assert_eq!(worker.receive(failed).await, Delivery::Acknowledged);
        let url = s.remote.url("/status/503/late");
        let late = Artwork { file: None, art_url: Some(Some(url)), ..Artwork::default() };
        let retried = s.request(&[s.artwork(late).await]).await;
        let authority = s.remote.authority();
        let remote =
            s.worker(&[("REMOTE_ALLOW_HOSTS", authority), ("RETRY_BASE_SECONDS", "4")]).await;
        remote.receive(retried).await;
        worker.receive_again("not JSON", 1).await;
        worker.receive(ready).await;
        let reported = events(&s);
        let statuses: Vec<_> =
            reported.iter().map(|event| event["status"].as_str().unwrap()).collect();
        assert_eq!(statuses, ["ready", "failed", "retried", "malformed", "skipped"]);

        s.set(ready, "expires_at = now() - interval '1 hour'").await;
        let cleaner = Cleaner::new(&s, &[]).await;
        cleaner.run(json!({"only": ["rescue"]})).await.unwrap();
        cleaner.run(json!({})).await.unwrap();
        let runs = events(&s).split_off(statuses.len());
        assert!(runs[0].get("bdr_cleanup_completed_total").is_none(), "only full runs count");
        assert_eq!(runs[1]["bdr_cleanup_completed_total"], 1);
        assert_eq!(runs[1]["bdr_cleanup_expired_total"], 1);
        assert_eq!(s.log.outcome()["cleaned_up"], 1);

        canary(&s, failed, worker.queue_url(), &[]).await.unwrap();
        let export = large_exports::request(&s, 8, 200_000).await;
        let state_machine = large_exports::idle_state_machine(&s).await;
        let input = large_exports::begin(&s, export, 500_000, &state_machine).await;
        let ended = large_exports::execute(&worker, &input).await;
        assert_eq!(ended.as_deref(), Some("ready"));
        let emitted = emf::metrics(&s.log.emitted());
        let declared: BTreeSet<_> = metrics::ALL.iter().map(emf::declared).collect();
        assert_eq!(emitted, declared, "the emitted metrics are those of metrics/mod.rs");
    });
}

#[test]
fn a_cancelled_attempt_is_reported() {
    scenario(async |s| {
        let worker = s.worker(&[]).await;
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        let event = json!({"Records": [{
            "messageId": "m", "receiptHandle": "r", "body": Scenario::message(bdr_id),
            "attributes": {"ApproximateReceiveCount": "1"},
        }]});
        {
            let mut invocation = Box::pin(worker.invoke(event));
            // Started, and dropped at its first wait.
            assert!(futures_util::poll!(&mut invocation).is_pending());
        }
        let event = events(&s).remove(0);
        assert_eq!(
            (&event["status"], &event["bdr_status_total"]),
            (&json!("cancelled"), &json!(1))
        );
        assert_eq!(s.log.outcome()["result"], "cancelled");
    });
}

#[test]
fn a_failed_email_and_a_failed_cleanup_are_reported() {
    scenario(async |s| {
        let bdr_id = s.request(&[s.artwork(Artwork::default()).await]).await;
        let mut worker = s.worker(&[]).await;
        let (_host, _) = give_ses(&s, &mut worker, 1, "MessageRejected");
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        let event = events(&s).remove(0);
        assert_eq!(
            (&event["status"], &event["bdr_email_failed_total"]),
            (&json!("ready"), &json!(1))
        );

        let unreachable = [("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nothing")];
        let cleaner = Cleaner::new(&s, &unreachable).await;
        assert!(cleaner.run(json!({})).await.is_err());
        let event = events(&s).remove(1);
        assert_eq!(
            (&event["status"], &event["bdr_cleanup_errors_total"]),
            (&json!("failed"), &json!(1))
        );
        assert!(event.get("bdr_cleanup_completed_total").is_none(), "{event}");
        let outcome = s.log.outcome();
        assert_eq!((&outcome["result"], &outcome["level"]), (&json!("failed"), &json!("ERROR")));
    });
}

#[test]
fn the_log_is_text_if_lambda_is_configured_for_text() {
    scenario(async |s| {
        let deployed = Deployed::process_bdr_job(s.stack).await.unwrap();
        let bdr_id = s.request(&[s.artwork(Artwork::default()).await]).await;
        let queue = TestQueue::create(s.sqs.clone(), &unique("q"), deployed.timeout).await.unwrap();
        let logs = tempfile::tempdir().unwrap();
        let changed = vec![
            ("AWS_LAMBDA_LOG_FORMAT", "Text".to_owned()),
            ("BDR_QUEUE_URL", queue.url().to_owned()),
        ];
        let mut source = EventSource::new(&deployed, changed, logs.path().to_owned());
        let message = queue.deliver(bdr_id).await.unwrap();
        source.process(&queue, &message).await.unwrap();
        assert_eq!(s.row(bdr_id).await["status"], "ready");

        let log = source.log();
        // The metrics are JSON in either format, because CloudWatch reads them.
        let (metrics, lines): (Vec<_>, Vec<_>) = log.lines().partition(|it| it.starts_with('{'));
        assert!(metrics.iter().all(|line| line.contains("\"_aws\"")), "{log}");
        let outcome = lines.iter().find(|line| line.contains("result=")).expect("an outcome line");
        for part in ["INFO", "ready", &bdr_id.to_string(), "requestId=", "duration_ms="] {
            assert!(outcome.contains(part), "{part}: {outcome}");
        }
        assert!(!log.contains('\u{1b}'), "no colours: {log}");
    });
}

/// AWS's own metrics: namespace, name, dimension and statistics.
const OF_AWS: [(&str, &str, &str, &str); 19] = [
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "Maximum"),
    ("AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", "Maximum"),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", "Maximum"),
    ("AWS/SQS", "ApproximateAgeOfOldestMessageInQuietGroups", "QueueName", "Maximum"),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisibleInQuietGroups", "QueueName", "Maximum"),
    ("AWS/SQS", "ApproximateNumberOfNoisyGroups", "QueueName", "Maximum"),
    ("AWS/Lambda", "Errors", "FunctionName", "Sum"),
    ("AWS/Lambda", "Throttles", "FunctionName", "Sum"),
    ("AWS/Lambda", "Duration", "FunctionName", "Maximum or Sum"),
    ("AWS/States", "ExecutionsFailed", "StateMachineArn", "Sum"),
    ("AWS/States", "ExecutionsTimedOut", "StateMachineArn", "Sum"),
    ("AWS/States", "ExecutionsAborted", "StateMachineArn", "Sum"),
    ("AWS/SES", "Bounce", "", "Sum"),
    ("AWS/SES", "Complaint", "", "Sum"),
    ("AWS/SES", "Reputation.BounceRate", "", "Average"),
    ("AWS/SES", "Reputation.ComplaintRate", "", "Average"),
    ("AWS/Scheduler", "InvocationAttemptCount", "ScheduleGroup", "Sum"),
    ("AWS/Scheduler", "TargetErrorCount", "ScheduleGroup", "Sum"),
    ("AWS/Scheduler", "InvocationDroppedCount", "ScheduleGroup", "Sum"),
];

/// A metric that an alarm or a widget watches.
#[derive(Debug)]
struct Watched {
    namespace: String,
    metric: String,
    dimensions: Vec<(String, String)>,
    statistic: String,
}

impl Watched {
    /// Checks that the metric is emitted with these dimensions. Returns its name if the functions
    /// emit it, `None` if AWS does.
    fn check(&self) -> Option<String> {
        let names: Vec<_> = self.dimensions.iter().map(|(name, _)| name.as_str()).collect();
        if self.namespace != metrics::NAMESPACE {
            let of_aws = OF_AWS.iter().find(|(namespace, metric, ..)| {
                (*namespace, *metric) == (&*self.namespace, &*self.metric)
            });
            let (_, _, dimension, statistics) = of_aws.unwrap_or_else(|| panic!("{self:?}"));
            assert_eq!(names.join(","), *dimension, "{self:?}");
            assert!(statistics.contains(&self.statistic), "{self:?}");
            return None;
        }
        let metric = metrics::ALL.iter().find(|metric| metric.name == self.metric);
        let metric = metric.unwrap_or_else(|| panic!("no function emits {self:?}"));
        assert!(metric.dimensions.contains(&&*names), "{self:?}");
        for (name, value) in &self.dimensions {
            let known: Vec<_> = match name.as_str() {
                "stack" => continue,
                "status" => AttemptOutcome::RESULTS.to_vec(),
                "phase" => Phase::ALL.iter().map(|phase| phase.as_str()).collect(),
                other => panic!("unknown dimension {other}"),
            };
            assert!(known.contains(&value.as_str()), "{self:?}: must be one of {known:?}");
        }
        Some(self.metric.clone())
    }
}

#[test]
fn every_alarm_watches_an_emitted_metric() {
    scenario(async |s| {
        let template = Template(template(&s).await);
        let parameters = [
            ("DatabaseUrl", "postgresql://h/d"),
            ("EmailFrom", "a@b.org"),
            ("CanaryRequestId", "0198f3c2-7c1e-7d3a-9b52-4f0a1c2d3e4f"),
        ];
        let stack = template.with(&parameters).unwrap();
        let resources = stack["Resources"].as_object().unwrap();
        let alarms = resources.values().filter(|it| it["Type"] == "AWS::CloudWatch::Alarm");
        let ours: BTreeSet<_> = alarms
            .flat_map(|alarm| {
                let alarm = &alarm["Properties"];
                // An alarm whose unit differs from the metric's never finds data.
                assert!(alarm.get("Unit").is_none(), "{alarm}");
                let stats = alarm["Metrics"].as_array().into_iter().flatten();
                let stats: Vec<_> = stats.filter_map(|it| it.get("MetricStat")).collect();
                let of_math = stats.iter().map(|it| (&it["Metric"], &it["Stat"], &it["Period"]));
                let statistic = alarm.get("Statistic").or(alarm.get("ExtendedStatistic"));
                let alone = statistic.map(|statistic| (alarm, statistic, &alarm["Period"]));
                let watched =
                    alone.into_iter().chain(of_math).filter_map(|(metric, stat, period)| {
                        // At most one day, or a week if the period is an hour or more (CloudWatch,
                        // "PutMetricAlarm").
                        let period = period.as_u64().unwrap();
                        let longest = if period < 3_600 { 86_400 } else { 604_800 };
                        let periods: u64 = text(&alarm["EvaluationPeriods"]).parse().unwrap();
                        assert!(period * periods <= longest);
                        let dimensions = metric["Dimensions"].as_array().into_iter().flatten();
                        let watched = Watched {
                            namespace: text(&metric["Namespace"]),
                            metric: text(&metric["MetricName"]),
                            dimensions: dimensions
                                .map(|d| (text(&d["Name"]), text(&d["Value"])))
                                .collect(),
                            statistic: text(stat),
                        };
                        watched.check()
                    });
                watched.collect::<Vec<_>>()
            })
            .collect();
        let expected = [
            "bdr_artworks_count",
            "bdr_artworks_failed_total",
            "bdr_canary_succeeded_total",
            "bdr_cleanup_completed_total",
            "bdr_cleanup_errors_total",
            "bdr_email_failed_total",
            "bdr_missing_share",
            "bdr_status_total",
            "bdr_wait_seconds",
        ];
        assert_eq!(ours.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    });
}

#[test]
fn the_dashboard_shows_exactly_the_emitted_metrics() {
    scenario(async |s| {
        let name = unique("dashboard-");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/observability.yaml");
        // As in docs/observability.md: `deploy` takes those outputs of the main stack that are parameters
        // here.
        let outputs = s.stack.outputs().iter();
        let overrides: Vec<_> = outputs.map(|(name, value)| format!("{name}={value}")).collect();
        let overrides: Vec<_> = overrides.iter().map(String::as_str).collect();
        deploy(&s, &name, Path::new(file), &overrides).await;

        let outputs = ["cloudformation", "describe-stacks", "--stack-name", &name];
        let dashboard = text(&aws(&s, &outputs).await["Stacks"][0]["Outputs"][0]["OutputValue"]);
        let get = ["cloudwatch", "get-dashboard", "--dashboard-name", &dashboard];
        let body: Value =
            serde_json::from_str(&text(&aws(&s, &get).await["DashboardBody"])).unwrap();
        assert!(!body.to_string().contains("${"), "every placeholder is substituted");
        let mut shown = BTreeSet::new();
        let mut statuses = BTreeSet::new();
        for widget in body["widgets"].as_array().unwrap() {
            for row in widget["properties"]["metrics"].as_array().unwrap() {
                let row = row.as_array().unwrap();
                if row[0].get("expression").is_some() {
                    continue;
                }
                // Namespace, name, names and values of dimensions, and rendering properties.
                let (how, row) = row.split_last().unwrap();
                let pairs = row[2..].chunks(2).map(|pair| (text(&pair[0]), text(&pair[1])));
                let watched = Watched {
                    namespace: text(&row[0]),
                    metric: text(&row[1]),
                    dimensions: pairs.collect(),
                    statistic: text(&how["stat"]),
                };
                if watched.metric == metrics::STATUS.name {
                    statuses.insert(watched.dimensions[1].1.clone());
                }
                shown.extend(watched.check());
            }
        }
        let declared: BTreeSet<_> = metrics::ALL.iter().map(|it| it.name.to_owned()).collect();
        assert_eq!(shown, declared);
        let all: BTreeSet<_> = AttemptOutcome::RESULTS.iter().map(|&it| it.to_owned()).collect();
        assert_eq!(statuses, all, "every outcome is shown");
        aws(&s, &["cloudformation", "delete-stack", "--stack-name", &name]).await;
    });
}
