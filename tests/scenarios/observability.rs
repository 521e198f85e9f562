//! One event an attempt and a cleanup run, however it ends; and that dashboard and alarms watch what is
//! emitted.

use std::collections::BTreeSet;

use bdr_tests::started::Cleaner;
use bdr_tests::{Artwork, Delivery, Scenario, emf, scenario, scenario_apart};
use serde_json::{Value, json};
use shared::metrics;

/// The wide events among the lines: those that count an attempt or a run.
fn events(s: &Scenario) -> Vec<Value> {
    let is_event = |line: &Value| {
        line.get("bdr_attempts_retried_total").is_some() || line["event"] == "cleanup"
    };
    s.log.emitted().into_iter().filter(is_event).collect()
}

#[test]
fn every_attempt_is_one_event_and_all_metrics_are_emitted_and_watched() {
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
        assert!(sum <= duration && duration - sum <= 7, "{sum} of {duration} ms: rounding alone");
        assert!(outcome["gb_seconds"].as_f64().unwrap() > 0.0);

        let failed = s.request(&[gone]).await;
        assert_eq!(worker.receive(failed).await, Delivery::Acknowledged);
        let url = s.remote.url("/status/503/late");
        let late = Artwork { file: None, art_url: Some(Some(url)), ..Artwork::default() };
        let retried = s.request(&[s.artwork(late).await]).await;
        let authority = s.remote.authority();
        let remote = s.worker(&[("REMOTE_ALLOW_HOSTS", authority)]).await;
        remote.receive(retried).await;
        worker.receive_again("not JSON", 1).await;
        worker.receive(ready).await;
        let told = events(&s);
        let told: Vec<_> = told.iter().map(|event| event["status"].as_str().unwrap()).collect();
        assert_eq!(told, ["ready", "failed", "retried", "malformed", "skipped"]);

        s.set(ready, "expires_at = now() - interval '1 hour'").await;
        let cleaner = Cleaner::new(&s, &[]).await;
        cleaner.run(json!({"only": ["rescue"]})).await.unwrap();
        cleaner.run(json!({})).await.unwrap();
        let runs = events(&s).split_off(told.len());
        assert!(runs[0].get("bdr_cleanup_completed_total").is_none(), "only full runs count");
        assert_eq!(runs[1]["bdr_cleanup_completed_total"], 1);
        assert_eq!(runs[1]["bdr_cleanup_expired_total"], 1);
        assert_eq!(s.log.outcome()["cleaned_up"], 1);

        let emitted = emf::metrics(&s.log.emitted());
        let declared: BTreeSet<_> = metrics::ALL.iter().map(emf::declared).collect();
        assert_eq!(emitted, declared, "what is emitted is what metrics/mod.rs lists");
    });
}

#[test]
fn an_attempt_that_is_cancelled_is_told() {
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
            // Begun, and dropped at its first wait.
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

/// The metrics that a text names, of our namespace.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("bdr_")).collect()
}

#[test]
fn dashboard_and_alarms_watch_what_is_emitted_and_nothing_else() {
    let template = include_str!("../../template.yaml");
    let dashboard = include_str!("../../infra/observability.yaml");
    let declared: BTreeSet<_> = metrics::ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(named(dashboard), declared);
    let alarms = template.lines().filter_map(|line| line.trim().strip_prefix("MetricName: "));
    let of_aws = [
        "ApproximateNumberOfMessagesVisible",
        "ApproximateAgeOfOldestMessage",
        "Errors",
        "Throttles",
        "Duration",
    ];
    for metric in alarms {
        assert!(declared.contains(metric) || of_aws.contains(&metric), "{metric}");
    }
    // A widget's metrics stand one a line: namespace, name, then names and values of dimensions.
    for line in dashboard.lines().filter(|line| line.trim().starts_with("[\"MakapixBDR\"")) {
        let row: Value = serde_json::from_str(line.trim().trim_end_matches(',')).unwrap();
        let texts: Vec<_> = row.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let metric = metrics::ALL.iter().find(|metric| metric.name == texts[1]).unwrap();
        let dimensions: Vec<_> = texts[2..].iter().step_by(2).copied().collect();
        assert!(metric.dimensions.contains(&&*dimensions), "{line}");
    }
}
