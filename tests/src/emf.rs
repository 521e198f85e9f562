//! Metrics in log lines (CloudWatch User Guide, "Specification: Embedded metric format").

use std::collections::BTreeSet;

use serde_json::Value;
use shared::clock::Clock;
use shared::metrics::{Metric, NAMESPACE};

/// Checks a line against the specification.
///
/// # Panics
/// When the line violates it.
pub fn check(line: &Value) {
    let timestamp_ms = line["_aws"]["Timestamp"].as_i64().expect("a timestamp");
    let now_ms = Clock::system().now().unix_timestamp_nanos() / 1_000_000;
    assert!((now_ms - i128::from(timestamp_ms)).abs() < 600_000, "not in milliseconds: {line}");
    let directives = elements(&line["_aws"]["CloudWatchMetrics"]);
    assert!(!directives.is_empty(), "no metric: {line}");
    for directive in directives {
        assert_eq!(directive["Namespace"], NAMESPACE);
        for dimension in elements(&directive["Dimensions"]).iter().flat_map(elements) {
            let value = line[dimension.as_str().unwrap()].as_str();
            assert!(value.is_some_and(|text| !text.is_empty()), "{dimension} of {line}");
        }
        let metrics = elements(&directive["Metrics"]);
        assert!((1..=100).contains(&metrics.len()), "not 1 to 100 metrics: {line}");
        for metric in metrics {
            assert!(line[metric["Name"].as_str().unwrap()].is_number(), "{metric} of {line}");
        }
    }
}

/// Returns the metrics of these lines, each with its name, unit and dimension sets.
#[must_use]
pub fn metrics<'a>(lines: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    let directives = lines.into_iter().flat_map(|it| elements(&it["_aws"]["CloudWatchMetrics"]));
    let metrics = directives.flat_map(|directive| {
        elements(&directive["Metrics"]).iter().map(move |metric| {
            format!("{} {} {}", metric["Name"], metric["Unit"], directive["Dimensions"])
        })
    });
    metrics.collect()
}

/// Returns the same of a metric in `shared::metrics`.
#[must_use]
pub fn declared(metric: &Metric) -> String {
    format!("{:?} {:?} {}", metric.name, metric.unit, serde_json::json!(metric.dimensions))
}

fn elements(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}
