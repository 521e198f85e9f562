//! What CloudWatch makes metrics of ("Specification: Embedded metric format").

use std::collections::BTreeSet;

use serde_json::Value;
use shared::metrics::{Metric, NAMESPACE};

/// Most metrics of a directive.
const MAX_METRICS: usize = 100;

/// Fails unless this line is what the specification asks for.
pub fn check(line: &Value) {
    let timestamp_ms = line["_aws"]["Timestamp"].as_i64().expect("a timestamp");
    let now_ms = crate::in_process::now().unix_timestamp_nanos() / 1_000_000;
    assert!((now_ms - i128::from(timestamp_ms)).abs() < 600_000, "in milliseconds: {line}");
    let directives = line["_aws"]["CloudWatchMetrics"].as_array().expect("directives");
    assert!(!directives.is_empty(), "a metric: {line}");
    for directive in directives {
        assert_eq!(directive["Namespace"], NAMESPACE);
        for set in directive["Dimensions"].as_array().expect("dimension sets") {
            for dimension in set.as_array().expect("a dimension set") {
                let value = line[dimension.as_str().unwrap()].as_str();
                assert!(value.is_some_and(|text| !text.is_empty()), "{dimension} of {line}");
            }
        }
        let metrics = directive["Metrics"].as_array().expect("metrics");
        assert!((1..=MAX_METRICS).contains(&metrics.len()), "{line}");
        for metric in metrics {
            assert!(line[metric["Name"].as_str().unwrap()].is_number(), "{metric} of {line}");
        }
    }
}

/// The metrics of these lines, each by name, unit and dimension sets.
#[must_use]
pub fn metrics<'a>(lines: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    let directives = lines
        .into_iter()
        .flat_map(|line| line["_aws"]["CloudWatchMetrics"].as_array().cloned().unwrap_or_default());
    directives
        .flat_map(|directive| {
            let metrics = directive["Metrics"].as_array().cloned().unwrap_or_default();
            metrics.into_iter().map(move |metric| {
                format!("{} {} {}", metric["Name"], metric["Unit"], directive["Dimensions"])
            })
        })
        .collect()
}

/// The same of a metric of the table.
#[must_use]
pub fn declared(metric: &Metric) -> String {
    format!("{:?} {:?} {}", metric.name, metric.unit, serde_json::json!(metric.dimensions))
}
