//! Every alarm fires on what is emitted in its failure and on nothing else: the alarms of the template
//! are evaluated as CloudWatch evaluates them (CloudWatch User Guide, "Alarm evaluation" and "Using math
//! expressions") on metrics that the functions emitted, or that AWS publishes.

use std::collections::{BTreeMap, BTreeSet};

use bdr_tests::in_process::{Cleaner, canary};
use bdr_tests::template::{Template, text};
use bdr_tests::{Artwork, Scenario, scenario_apart};
use serde_json::{Value, json};

use crate::deploy::deployed_stack::template;
use crate::process::email::give_ses;

/// Points of each metric: the minute, counted from the first one, and the value.
#[derive(Default)]
struct Points(BTreeMap<String, Vec<(u64, f64)>>);

/// The minute at which the alarms are evaluated: a week after the first one.
const NOW: u64 = 7 * 24 * 60;

impl Points {
    fn add(&mut self, metric: String, minute: u64, value: f64) {
        self.0.entry(metric).or_default().push((minute, value));
    }

    /// Adds what these lines in the embedded metric format emit, all in the last minute.
    fn emitted(lines: &[Value]) -> Self {
        let mut points = Self::default();
        for line in lines {
            for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
                let sets = directive["Dimensions"].as_array().unwrap().iter();
                let names = sets.flat_map(|set| set.as_array().unwrap()).map(text);
                let dimensions: Vec<_> =
                    names.map(|name| (name.clone(), text(&line[&name]))).collect();
                for metric in directive["Metrics"].as_array().unwrap() {
                    let name = text(&metric["Name"]);
                    let value = line[&name].as_f64().unwrap();
                    points.add(
                        key(&text(&directive["Namespace"]), &name, &dimensions),
                        NOW - 1,
                        value,
                    );
                }
            }
        }
        points
    }

    /// Returns the statistic of a metric in a period that ends at `end`, or nothing without points.
    fn statistic(&self, metric: &str, name: &str, end: u64, period: u64) -> Option<f64> {
        let points = self.0.get(metric).into_iter().flatten();
        let within = points.filter(|(minute, _)| (end - period..end).contains(minute));
        let mut values: Vec<f64> = within.map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        let count = f64::from(u32::try_from(values.len()).unwrap());
        let sum = values.iter().sum::<f64>();
        let largest = *values.last()?;
        Some(match name {
            "Sum" => sum,
            "Average" => sum / count,
            "SampleCount" => count,
            "Maximum" => largest,
            "p95" => values[(values.len() - 1) * 95 / 100],
            other => panic!("unknown statistic {other}"),
        })
    }
}

fn key(namespace: &str, metric: &str, dimensions: &[(String, String)]) -> String {
    let dimensions: BTreeSet<_> =
        dimensions.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{namespace} {metric} {dimensions:?}")
}

/// Returns the metric that an alarm, or one of its `Metrics`, refers to.
fn metric(of: &Value) -> String {
    let dimensions = of["Dimensions"].as_array().into_iter().flatten();
    let dimensions: Vec<_> = dimensions.map(|d| (text(&d["Name"]), text(&d["Value"]))).collect();
    key(&text(&of["Namespace"]), &text(&of["MetricName"]), &dimensions)
}

/// Returns whether the alarm is in the state ALARM at `now`.
fn fires(alarm: &Value, points: &Points, now: u64) -> bool {
    let periods: u64 = text(&alarm["EvaluationPeriods"]).parse().unwrap();
    let threshold: f64 = text(&alarm["Threshold"]).parse().unwrap();
    let required = alarm.get("DatapointsToAlarm").and_then(Value::as_u64).unwrap_or(periods);
    let breaching = (0..periods).filter(|back| match value(alarm, points, now, *back) {
        None => alarm["TreatMissingData"] == "breaching",
        Some(value) => match text(&alarm["ComparisonOperator"]).as_str() {
            "GreaterThanThreshold" => value > threshold,
            "LessThanThreshold" => value < threshold,
            other => panic!("unknown operator {other}"),
        },
    });
    u64::try_from(breaching.count()).unwrap() >= required
}

/// Returns the value that the alarm compares, `back` periods before the last one.
fn value(alarm: &Value, points: &Points, now: u64, back: u64) -> Option<f64> {
    let minutes = |it: &Value| text(&it["Period"]).parse::<u64>().unwrap() / 60;
    let Some(metrics) = alarm["Metrics"].as_array() else {
        let statistic = alarm.get("Statistic").or(alarm.get("ExtendedStatistic")).unwrap();
        let period = minutes(alarm);
        return points.statistic(&metric(alarm), &text(statistic), now - back * period, period);
    };
    let returned = metrics.iter().find(|it| it["ReturnData"] != false).expect("a result");
    let series = |id: &str, back: u64| {
        let it = metrics.iter().find(|it| it["Id"] == id).unwrap_or_else(|| panic!("no {id}"));
        let (stat, period) = (&it["MetricStat"], minutes(&it["MetricStat"]));
        let end = now - back * period;
        points.statistic(&metric(&stat["Metric"]), &text(&stat["Stat"]), end, period)
    };
    let expression = text(&returned["Expression"]);
    let mut tokens = tokens(&expression).into_iter().rev().collect();
    comparison(&mut tokens, back, &series)
}

/// Splits a metric math expression into names, numbers and signs.
fn tokens(expression: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut in_word = false;
    for c in expression.chars() {
        let continues = c.is_alphanumeric() || c == '.';
        match tokens.last_mut() {
            Some(token) if in_word && continues || token == ">" && c == '=' => token.push(c),
            _ if c.is_whitespace() => {}
            _ => tokens.push(c.to_string()),
        }
        in_word = continues;
    }
    tokens
}

/// Evaluates `sum >= sum`, `sum > sum` or `sum`. `tokens` has the next token at its end. A missing
/// operand makes the result missing.
fn comparison(
    tokens: &mut Vec<String>,
    back: u64,
    series: &impl Fn(&str, u64) -> Option<f64>,
) -> Option<f64> {
    let left = sum(tokens, back, series);
    match tokens.last().map(String::as_str) {
        Some(sign @ (">" | ">=")) => {
            let or_equal = sign == ">=";
            tokens.pop();
            let right = sum(tokens, back, series);
            left.zip(right).map(|(a, b)| f64::from(u8::from(a > b || or_equal && a >= b)))
        }
        _ => left,
    }
}

fn sum(
    tokens: &mut Vec<String>,
    back: u64,
    series: &impl Fn(&str, u64) -> Option<f64>,
) -> Option<f64> {
    let mut total = operand(tokens, back, series);
    while let Some(sign) = tokens.pop_if(|token| ["+", "/"].contains(&token.as_str())) {
        let next = operand(tokens, back, series);
        total = total.zip(next).map(|(a, b)| if sign == "+" { a + b } else { a / b });
    }
    total
}

/// Evaluates a number, a series, a call, or an expression in parentheses.
fn operand(
    tokens: &mut Vec<String>,
    back: u64,
    series: &impl Fn(&str, u64) -> Option<f64>,
) -> Option<f64> {
    let token = tokens.pop().expect("an operand");
    let argument = |tokens: &mut Vec<String>, back| {
        let value = comparison(tokens, back, series);
        assert!([",", ")"].contains(&tokens.pop().expect("an end").as_str()));
        value
    };
    match token.as_str() {
        "(" => argument(tokens, back),
        "IF" => {
            tokens.pop();
            let (is, yes, no) =
                (argument(tokens, back), argument(tokens, back), argument(tokens, back));
            if is? > 0.0 { yes } else { no }
        }
        "FILL" => {
            tokens.pop();
            let (value, filler) = (argument(tokens, back), argument(tokens, back));
            value.or(filler)
        }
        "DIFF" => {
            tokens.pop();
            let before = argument(&mut tokens.clone(), back + 1);
            Some(argument(tokens, back)? - before?)
        }
        name => name.parse().ok().or_else(|| series(name, back)),
    }
}

/// Returns the alarms of the template by name.
async fn alarms(s: &Scenario) -> BTreeMap<String, Value> {
    let template = Template(template(s).await);
    let parameters = [
        ("DatabaseUrl", "postgresql://h/d"),
        ("EmailFrom", "a@b.org"),
        ("CanaryRequestId", "0198f3c2-7c1e-7d3a-9b52-4f0a1c2d3e4f"),
    ];
    let stack = template.with(&parameters).unwrap();
    let resources = stack["Resources"].as_object().unwrap().clone().into_iter();
    let alarms = resources.filter(|(_, it)| it["Type"] == "AWS::CloudWatch::Alarm");
    alarms.map(|(name, mut alarm)| (name, alarm["Properties"].take())).collect()
}

#[test]
fn every_alarm_notifies_by_itself_or_through_the_composite_alarm() {
    scenario_apart(async |s| {
        let template = template(&s).await;
        let resources = template["Resources"].as_object().unwrap();
        let rule = text(&resources["OutageAlarm"]["Properties"]["AlarmRule"]["Fn::Sub"]);
        for (name, resource) in resources {
            if resource["Type"] == "AWS::CloudWatch::Alarm" {
                let notifies = resource["Properties"].get("AlarmActions").is_some();
                let is_member = rule.contains(&format!("ALARM(\"${{{name}}}\")"));
                assert!(
                    notifies != is_member,
                    "{name}: by itself {notifies}, as a member {is_member}"
                );
            }
        }
        assert_eq!(rule.matches("ALARM(").count(), rule.matches(" OR ").count() + 1, "{rule}");
    });
}

/// Returns the lines that the scenario's functions emitted, as those of the template's stack.
fn emitted(s: &Scenario) -> Vec<Value> {
    let mut lines = s.log.emitted();
    for line in &mut lines {
        line["stack"] = "makapix-bdr".into();
    }
    lines
}

/// Returns the names of the alarms on the functions' metrics that fire on these lines.
fn firing(alarms: &BTreeMap<String, Value>, lines: &[Value]) -> BTreeSet<String> {
    let points = Points::emitted(lines);
    let ours = alarms.iter().filter(|(_, alarm)| alarm.to_string().contains("MakapixBDR"));
    ours.filter(|(_, alarm)| fires(alarm, &points, NOW)).map(|(name, _)| name.clone()).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_alarms_on_the_functions_fire_on_what_they_emit_in_each_failure() {
    scenario_apart(async |s| {
        let alarms = alarms(&s).await;
        let worker = s.worker(&[]).await;
        let artwork = s.artwork(Artwork::default()).await;
        let mut seen = 0;
        // Returns the alarms that fire on what was emitted since the last call, `times` times, beside a
        // daily cleanup and a successful canary.
        let mut since = |s: &Scenario, times: usize| {
            let lines = emitted(s);
            let new = lines[seen..].iter().cycle().take((lines.len() - seen) * times);
            seen = lines.len();
            let daily = json!({
                "_aws": {"CloudWatchMetrics": [{
                    "Namespace": "MakapixBDR", "Dimensions": [["stack"]],
                    "Metrics": [
                        {"Name": "bdr_cleanup_completed_total"},
                        {"Name": "bdr_canary_succeeded_total"},
                    ],
                }]},
                "stack": "makapix-bdr", "bdr_cleanup_completed_total": 1,
                "bdr_canary_succeeded_total": 1,
            });
            let new: Vec<_> = new.cloned().chain([daily]).collect();
            firing(&alarms, &new)
        };

        worker.receive(s.request(&[artwork]).await).await;
        assert_eq!(since(&s, 100), names(&[]), "ready requests");

        worker.receive(s.request(&[i32::MAX]).await).await;
        assert_eq!(since(&s, 9), names(&[]), "nine failures");
        worker.receive(s.request(&[i32::MAX]).await).await;
        assert_eq!(since(&s, 10), names(&["FailedRequestsAlarm"]), "ten failures");

        let body = Scenario::message(uuid::Uuid::new_v4());
        worker.receive_again(&body, 3).await;
        assert_eq!(since(&s, 1), names(&["UnknownRequestsAlarm"]));

        let gone = s.artwork(Artwork { file: None, ..Artwork::default() }).await;
        let more = s.artwork(Artwork { file: None, ..Artwork::default() }).await;
        worker.receive(s.request(&[artwork, gone, more]).await).await;
        assert_eq!(since(&s, 1), names(&["PartialArchiveAlarm"]), "two of three are missing");
        worker.receive(s.request(&[artwork, gone]).await).await;
        assert_eq!(since(&s, 25), names(&["MissingArtworksAlarm"]), "25 of 50 are missing");

        let late = s.request(&[artwork]).await;
        let event = json!({"Records": [{
            "messageId": "m", "receiptHandle": "r", "body": Scenario::message(late),
            "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1764000000000"},
        }]});
        worker.invoke(event).await;
        assert_eq!(since(&s, 20), names(&["WaitAlarm"]));

        let mut rejected = s.worker(&[]).await;
        let (_host, _) = give_ses(&s, &mut rejected, 1, "MessageRejected");
        rejected.receive(s.request(&[artwork]).await).await;
        assert_eq!(since(&s, 1), names(&["FailedEmailsAlarm"]));

        let bdr_id = s.request(&[artwork]).await;
        s.set(
            bdr_id,
            "status = 'ready', file_path = 'elsewhere/1.zip', expires_at = now() - interval '1 h'",
        )
        .await;
        let report = Cleaner::new(&s, &[]).await.run(json!({})).await.unwrap();
        assert_eq!(report["errors"][0]["bdr_id"], bdr_id.to_string());
        assert_eq!(since(&s, 1), names(&["CleanupItemErrorsAlarm"]));

        let none = names(&["CanaryAlarm", "CleanupMissedAlarm"]);
        assert_eq!(firing(&alarms, &[]), none, "no cleanup and no canary");
        let before = emitted(&s).len();
        canary(&s, late, worker.queue_url(), &[]).await.unwrap();
        s.set(late, "status = 'failed'").await;
        canary(&s, late, worker.queue_url(), &[]).await.unwrap();
        let runs = emitted(&s).split_off(before);
        assert_eq!(runs.len(), 2);
        assert_eq!(firing(&alarms, &runs[..1]), names(&["CleanupMissedAlarm"]), "a success");
        assert_eq!(firing(&alarms, &runs[1..]), none, "a failure");
    });
}

/// The alarms on AWS's own metrics that one value above the threshold raises, with that value.
const ON_ONE_VALUE: [(&str, f64); 13] = [
    ("OldestMessageAlarm", 1801.0),
    ("ProcessBdrJobErrorsAlarm", 1.0),
    ("ProcessBdrJobThrottlesAlarm", 1.0),
    ("ProcessBdrJobDurationAlarm", 790_000.0),
    ("CleanupExpiredBdrsErrorsAlarm", 1.0),
    ("CleanupExpiredBdrsThrottlesAlarm", 1.0),
    ("CleanupExpiredBdrsDurationAlarm", 850_000.0),
    ("CleanupFailureQueueAlarm", 1.0),
    ("EmailBouncesAlarm", 0.06),
    ("EmailComplaintsAlarm", 0.002),
    ("PresignBdrDownloadErrorsAlarm", 1.0),
    ("PresignBdrDownloadThrottlesAlarm", 1.0),
    ("PresignBdrDownloadDurationAlarm", 5100.0),
];

#[test]
fn the_alarms_on_aws_metrics_fire_on_a_failure_and_end() {
    scenario_apart(async |s| {
        let alarms = alarms(&s).await;
        let of_aws = |alarm: &&Value| !alarm.to_string().contains("MakapixBDR");
        assert_eq!(alarms.values().filter(of_aws).count(), ON_ONE_VALUE.len() + 2);
        for (name, failure) in ON_ONE_VALUE {
            let alarm = &alarms[name];
            let one = |value| {
                let mut points = Points::default();
                points.add(metric(alarm), NOW - 1, value);
                points
            };
            assert!(!fires(alarm, &Points::default(), NOW), "{name}: no data");
            assert!(!fires(alarm, &one(0.0), NOW), "{name}: zero");
            let points = one(failure);
            assert!(fires(alarm, &points, NOW), "{name}");
            assert!(!fires(alarm, &points, NOW + 60), "{name}: an hour later");
        }
    });
}

#[test]
fn each_message_that_arrives_in_the_dead_letter_queue_raises_the_alarm() {
    scenario_apart(async |s| {
        let alarm = &alarms(&s).await["DeadLetterQueueAlarm"];
        let queue = metric(&alarm["Metrics"][2]["MetricStat"]["Metric"]);
        let mut points = Points::default();
        assert!(!fires(alarm, &points, NOW), "no data");
        // A message arrives in a queue without metrics and stays; a second one arrives after an hour.
        for minute in 0..90 {
            points.add(queue.clone(), NOW + minute, if minute < 60 { 1.0 } else { 2.0 });
        }
        let firing: Vec<u64> =
            (0..90).filter(|minute| fires(alarm, &points, NOW + minute + 1)).collect();
        assert_eq!(firing, [0, 1, 2, 3, 4, 60, 61, 62, 63, 64]);
    });
}

#[test]
fn an_export_that_does_not_succeed_raises_the_alarm() {
    scenario_apart(async |s| {
        let alarm = &alarms(&s).await["ExportsFailedAlarm"];
        assert!(!fires(alarm, &Points::default(), NOW), "no data");
        for name in ["ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"] {
            let metrics = alarm["Metrics"].as_array().unwrap().iter();
            let mut metrics = metrics.map(|it| &it["MetricStat"]["Metric"]);
            let of_aws = metrics.find(|it| it["MetricName"] == name).unwrap();
            let mut points = Points::default();
            points.add(metric(of_aws), NOW - 1, 1.0);
            assert!(fires(alarm, &points, NOW), "{name}");
            assert!(!fires(alarm, &points, NOW + 60), "{name}: an hour later");
        }
    });
}
