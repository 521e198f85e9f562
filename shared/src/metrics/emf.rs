//! The embedded metric format ("Specification: Embedded metric format", Amazon CloudWatch User
//! Guide).
//!
//! The dimensions of a directive apply to all its metrics, so metrics with different dimensions
//! need different directives. A dimension has one value per line.

use serde_json::{Value, json};

use super::{Metric, NAMESPACE, Record, STACK};

/// Formats a record as one line without a line break.
pub(super) fn line(record: &Record, stack: &str, timestamp_ms: i128) -> String {
    let mut directives: Vec<(&[&[&str]], Vec<&Metric>)> = Vec::new();
    for metric in &record.metrics {
        match directives.iter_mut().find(|(dimensions, _)| *dimensions == metric.dimensions) {
            Some((_, metrics)) => metrics.push(metric),
            None => directives.push((metric.dimensions, vec![metric])),
        }
    }
    let directives: Vec<Value> = directives.iter().map(directive).collect();
    let timestamp_ms = i64::try_from(timestamp_ms).unwrap_or_default();
    let mut members = record.properties.clone();
    members.insert(STACK.to_owned(), stack.into());
    members.insert(
        "_aws".to_owned(),
        json!({ "Timestamp": timestamp_ms, "CloudWatchMetrics": directives }),
    );
    Value::Object(members).to_string()
}

fn directive((dimensions, metrics): &(&[&[&str]], Vec<&Metric>)) -> Value {
    let metrics: Vec<Value> =
        metrics.iter().map(|metric| json!({ "Name": metric.name, "Unit": metric.unit })).collect();
    json!({ "Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": metrics })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{Record, line};
    use crate::metrics::{ARTWORKS, FILE_SIZE, STATUS};

    #[test]
    fn metrics_with_different_dimensions_are_in_different_directives() {
        let mut record = Record::of(Map::from_iter([("status".to_owned(), json!("ready"))]));
        record.put(FILE_SIZE, 7);
        record.put(STATUS, 1);
        record.put(ARTWORKS, 2);
        let line: Value = serde_json::from_str(&line(&record, "prod", 1_764_000_000_123)).unwrap();
        let expected = json!({
            "_aws": {
                "Timestamp": 1_764_000_000_123_i64,
                "CloudWatchMetrics": [
                    {
                        "Namespace": "MakapixBDR",
                        "Dimensions": [["stack"]],
                        "Metrics": [
                            {"Name": "bdr_file_size_bytes", "Unit": "Bytes"},
                            {"Name": "bdr_artworks_count", "Unit": "Count"},
                        ],
                    },
                    {
                        "Namespace": "MakapixBDR",
                        "Dimensions": [["stack", "status"]],
                        "Metrics": [{"Name": "bdr_status_total", "Unit": "Count"}],
                    },
                ],
            },
            "stack": "prod",
            "status": "ready",
            "bdr_file_size_bytes": 7,
            "bdr_status_total": 1,
            "bdr_artworks_count": 2,
        });
        assert_eq!(line, expected);
    }
}
