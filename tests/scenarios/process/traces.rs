//! With a collector, each attempt sends a trace; a collector in trouble changes nothing else.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use bdr_tests::collector::{Collector, ReceivedSpan};
use bdr_tests::in_process::now;
use bdr_tests::raw_server::{RawHost, ok, redirect};
use bdr_tests::{Artwork, Delivery, Scenario, Worker, scenario};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::canary_ports::CanaryPorts;
use super::large_exports::{begin_with, execute, idle_state_machine, request};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Asserts that the first span contains the others, and that these are phases whose times add up to its
/// duration. Returns the names of the phases.
#[track_caller]
fn assert_phases(trace: &[ReceivedSpan]) -> Vec<&str> {
    let [root, phases @ ..] = trace else { panic!("no span") };
    let (begun, ended) = root.window();
    let mut busy_ms = 0.0;
    for phase in phases {
        assert_eq!(phase.text("traceId"), root.text("traceId"));
        assert_eq!(phase.text("parentSpanId"), root.text("spanId"));
        assert_eq!(phase.span["kind"], 1);
        let window = phase.window();
        assert!(begun <= window.0 && window.0 <= window.1 && window.1 <= ended, "{phase:?}");
        let busy = phase.attribute("busy_ms").unwrap().as_f64().unwrap();
        assert!(busy <= millis(window) + 0.001, "longer than the span: {phase:?}");
        busy_ms += busy;
    }
    let duration_ms = millis((begun, ended));
    assert!((busy_ms - duration_ms).abs() < 0.001, "{busy_ms} ms of {duration_ms} ms");
    let ids: BTreeSet<_> = trace.iter().map(|span| span.text("spanId")).collect();
    assert_eq!(ids.len(), trace.len(), "each span has an id of its own");
    phases.iter().map(|phase| phase.text("name")).collect()
}

fn millis((begun, ended): (u64, u64)) -> f64 {
    Duration::from_nanos(ended - begun).as_secs_f64() * 1e3
}

/// Asserts that the span repeats the outcome line, and that every line of the attempt has its trace.
#[track_caller]
fn assert_agrees(s: &Scenario, span: &ReceivedSpan) {
    let outcome = s.log.outcome();
    let fields =
        ["bdr_id", "receive_count", "retries", "result", "artworks", "missing", "size_bytes"];
    for field in fields {
        let attribute = span.attribute(field).unwrap_or_default();
        assert_eq!(attribute, outcome.get(field).cloned().unwrap_or_default(), "{field}");
    }
    let lines = s.log.lines();
    let mut lines = lines.iter().filter(|line| line["bdr_id"] == outcome["bdr_id"]);
    let of_trace = |line: &Value| line["trace_id"] == span.text("traceId");
    assert!(lines.all(|line| line.get("_aws").is_some() || of_trace(line)), "{}", s.log.text());
}

#[test]
fn an_attempt_is_a_trace_of_its_phases() {
    scenario(async |s| {
        let collector = Collector::start();
        let worker = s.worker(&[(ENDPOINT, &collector.endpoint())]).await;
        let large = vec![7; 6 << 20];
        let mut posts = vec![s.artwork(Artwork { file: None, ..Artwork::default() }).await];
        for _ in 0..3 {
            let artwork = Artwork { file: Some(&large), ..Artwork::default() };
            posts.push(s.artwork(artwork).await);
        }
        let bdr_id = s.request(&posts).await;
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);

        let [trace] = &collector.traces()[..] else { panic!("one request") };
        let phases = assert_phases(trace);
        assert_eq!(phases, ["claim", "load", "fetch", "write", "upload", "finish", "notify"]);
        let root = &trace[0];
        assert_eq!((root.text("name"), &root.span["kind"]), ("attempt", &json!(5)));
        assert_agrees(&s, root);
        assert_eq!(root.attribute("result"), Some("ready".into()));
        assert_eq!(root.attribute("missing"), Some(1.into()));
        assert_eq!((root.span.get("parentSpanId"), root.span.get("status")), (None, None));
        let resource = |key: &str| root.resource.iter().find(|(name, _)| name == key).unwrap();
        assert_eq!(resource("service.name").1, "process-bdr-job");
        assert_eq!(resource("service.namespace").1, "default");
        let now = now().unix_timestamp_nanos();
        assert!(now - i128::from(root.window().1) < 10_000_000_000, "{root:?}");
        assert!(collector.bodies()[0].len() < 4096, "a request of about 3 KB");
        s.secrets.look_for_leaks(collector.bodies().iter().map(String::as_str));
    });
}

#[test]
fn failed_and_malformed_attempts_have_the_status_of_an_error() {
    scenario(async |s| {
        let collector = Collector::start();
        let url = "postgresql://u:p@127.0.0.1:9/d?sslmode=disable";
        let endpoint = [(ENDPOINT, &*collector.endpoint())];
        let unreachable = s.worker(&[endpoint[0], ("DATABASE_URL", url)]).await;
        let worker = s.worker(&endpoint).await;
        let nothing = s.request(&[-1]).await;
        worker.receive(nothing).await;
        assert_agrees(&s, &collector.traces().last().unwrap()[0]);
        worker.receive_again("hello", 1).await;
        unreachable.receive(nothing).await;
        worker.receive(nothing).await;
        let found: Vec<_> = collector
            .traces()
            .iter()
            .map(|trace| {
                assert_phases(trace);
                let root = &trace[0];
                let result = root.attribute("result").unwrap().as_str().unwrap().to_owned();
                (result, root.span["status"]["message"].as_str().map(str::to_owned))
            })
            .collect();
        let error = |result: &str, message: &str| (result.to_owned(), Some(message.to_owned()));
        let malformed = "message is not {\"bdr_id\": \"<uuid>\"}; it moves to the dead-letter queue after \
                         its last receive";
        assert_eq!(
            found,
            [
                error("failed", "request failed"),
                error("malformed", malformed),
                error("unclaimed", "failed to claim the request, or to look for its due e-mail"),
                ("skipped".to_owned(), None),
            ]
        );
    });
}

/// Delivers a message with the headers of callers; returns its id and its span.
async fn continued(
    worker: &Worker,
    collector: &Collector,
    bdr_id: Uuid,
    [traceparent, aws_trace_header, of_lambda]: [Option<&str>; 3],
) -> (Uuid, ReceivedSpan) {
    let message_id = Uuid::new_v4();
    let mut record = json!({
        "messageId": message_id, "receiptHandle": "handle", "body": Scenario::message(bdr_id),
        "attributes": { "ApproximateReceiveCount": "1", "SentTimestamp": "1" },
        "messageAttributes": {},
    });
    if let Some(header) = traceparent {
        let attribute = json!({ "stringValue": header, "dataType": "String" });
        record["messageAttributes"] = json!({ "traceparent": attribute });
    }
    if let Some(header) = aws_trace_header {
        record["attributes"]["AWSTraceHeader"] = header.into();
    }
    let mut context = Context::default();
    context.xray_trace_id = of_lambda.map(str::to_owned);
    let deadline = now() + Duration::from_mins(15);
    context.deadline = u64::try_from(deadline.unix_timestamp()).unwrap() * 1000;
    let event = LambdaEvent::new(json!({ "Records": [record] }), context);
    worker.handler.handle(event).await.unwrap();
    let trace = collector.traces().pop().unwrap();
    assert_phases(&trace);
    assert_eq!(trace[0].span.get("status"), None, "{trace:?}");
    (message_id, trace[0].clone())
}

#[test]
fn a_trace_continues_that_of_the_sender_or_of_lambda() {
    scenario(async |s| {
        let collector = Collector::start();
        let worker = s.worker(&[(ENDPOINT, &collector.endpoint())]).await;
        let bdr_id = s.request(&[s.artwork(Artwork::default()).await]).await;
        let w3c = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let of_sqs = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let of_lambda =
            "Root=1-65a1b2c3-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=1";
        let (of_sqs, of_lambda) = (Some(of_sqs), Some(of_lambda));
        let w3c_ids = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let sqs_ids = ("5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8");
        let lambda_ids = ("65a1b2c30123456789abcdef01234567", "0123456789abcdef");
        for (headers, expected) in [
            ([w3c, of_sqs, of_lambda], w3c_ids),
            ([None, of_sqs, of_lambda], sqs_ids),
            ([Some("nonsense"), Some("x"), of_lambda], lambda_ids),
        ] {
            let (_, span) = continued(&worker, &collector, bdr_id, headers).await;
            assert_eq!((span.text("traceId"), span.text("parentSpanId")), expected);
        }
        // Lambda passes a header on even if the trace is not recorded.
        let unsampled =
            "Root=1-65a1b2c3-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0";
        let headers = [None, None, Some(unsampled)];
        let (message_id, span) = continued(&worker, &collector, bdr_id, headers).await;
        assert_eq!(span.text("traceId"), message_id.simple().to_string());
        assert_eq!(span.span.get("parentSpanId"), None);
    });
}

#[test]
fn the_invocations_of_an_export_are_in_the_trace_of_its_attempt() {
    scenario(async |s| {
        let collector = Collector::start();
        let endpoint = [(ENDPOINT, &*collector.endpoint())];
        let bdr_id = request(&s, 20, 10_000).await;
        let state_machine = idle_state_machine(&s).await;
        let input = begin_with(&s, bdr_id, 50_000, &state_machine, &endpoint).await;
        let worker = s.worker(&endpoint).await;
        assert_eq!(execute(&worker, &input).await.as_deref(), Some("ready"));
        assert_agrees(&s, &collector.traces().last().unwrap()[0]);
        let fail = json!({"export": input["export"], "cause": "States.TaskFailed"});
        worker.export(json!({ "fail_export": fail })).await.unwrap();

        let traces = collector.traces();
        let [attempt, others @ ..] = &traces[..] else { panic!("no trace") };
        assert_eq!(attempt[0].attribute("result"), Some("exported".into()));
        let mut names = Vec::new();
        let mut artworks = 0;
        for trace in others {
            assert_phases(trace);
            let root = &trace[0];
            assert_eq!(root.text("traceId"), attempt[0].text("traceId"));
            assert_eq!(root.text("parentSpanId"), attempt[0].text("spanId"));
            assert_eq!((&root.span["kind"], root.span.get("status")), (&json!(2), None));
            names.push(root.text("name"));
            if root.text("name") == "write_segment" {
                assert_eq!(root.attribute("segment"), Some(names.len().into()));
                artworks += root.attribute("artworks").unwrap().as_u64().unwrap();
            }
        }
        let segments = input["segments"].as_array().unwrap().len();
        let expected = [vec!["write_segment"; segments], vec!["finish_export", "fail_export"]];
        assert_eq!(names, expected.concat());
        assert!(segments > 1 && artworks > 5, "{segments} segments, {artworks} artworks");

        // The documents are gone, so a bucket that does not exist is the only way to fail.
        let nowhere = s.worker(&[endpoint[0], ("VAULT_BUCKET", "no-such-bucket")]).await;
        let segment = json!({"export": input["export"], "segment": 1, "retries": 0});
        nowhere.export(json!({ "write_segment": segment })).await.unwrap_err();
        let failed = &collector.traces().pop().unwrap()[0];
        assert_eq!(
            failed.span["status"],
            json!({"code": 2, "message": "failed; the state machine tries again"})
        );
    });
}

/// Answers as a collector should not.
fn misbehave(path: &str, stream: &mut dyn Write) -> std::io::Result<()> {
    match path.split('/').nth(1).unwrap() {
        "silent" => loop {
            std::thread::park();
        },
        "broken" => stream.write_all(b"HTTP/1.1 500 Internal Server Error\r\n\r\n"),
        "moved" => stream.write_all(&redirect(b"http://127.0.0.1:9/")),
        "rude" => stream.write_all(b"go away"),
        "endless-head" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            loop {
                stream.write_all(b"x: y\r\n")?;
            }
        }
        "endless-body" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            loop {
                stream.write_all(&[b' '; 4096])?;
            }
        }
        _ => stream.write_all(&ok("", b"{}")),
    }
}

#[test]
fn a_collector_in_trouble_costs_a_warning_and_half_a_second() {
    scenario(async |s| {
        let host = RawHost::start(misbehave);
        let artwork = s.artwork(Artwork::default()).await;
        let mut told = 0;
        for (behavior, is_accepted) in [
            ("well", true),
            ("endless-body", true),
            ("refused", false),
            ("silent", false),
            ("broken", false),
            ("moved", false),
            ("rude", false),
            ("endless-head", false),
        ] {
            let endpoint = match behavior {
                "refused" => "http://127.0.0.1:9".to_owned(),
                _ => host.url(&format!("/{behavior}")),
            };
            let bdr_id = s.request(&[artwork]).await;
            let worker = s.worker(&[(ENDPOINT, &endpoint)]).await;
            assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged, "{behavior}");
            assert_eq!(s.row(bdr_id).await["status"], "ready", "{behavior}");
            let lines = s.log.lines();
            let warnings: Vec<_> =
                lines.iter().filter(|line| line["message"] == "failed to send the trace").collect();
            told += usize::from(!is_accepted);
            assert_eq!(warnings.len(), told, "{behavior}: {}", s.log.text());
            if is_accepted {
                continue;
            }
            let warning = warnings.last().unwrap();
            assert_eq!((&warning["level"], &warning["bdr_id"]), (&json!("WARN"), &json!(bdr_id)));
            let at = |line: &Value| {
                OffsetDateTime::parse(line["timestamp"].as_str().unwrap(), &Rfc3339).unwrap()
            };
            let waited = at(warning) - at(&s.log.outcome());
            // The rest is for a machine under load.
            assert!(waited < Duration::from_secs(2), "{behavior}: {waited}");
            assert!(waited > Duration::from_millis(450) || behavior != "silent", "{waited}");
            if behavior != "refused" {
                assert_eq!(host.visits.of(&format!("/{behavior}/v1/traces")), 1, "no retry");
            }
        }
    });
}

#[test]
fn without_an_endpoint_no_collector_is_looked_for() {
    scenario(async |s| {
        let canaries = CanaryPorts::listen().await;
        assert!(canaries.ports.contains(&4318), "port 4318 is in use");
        let bdr_id = s.request(&[s.artwork(Artwork::default()).await]).await;
        assert_eq!(s.worker(&[]).await.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(canaries.connections().await, 0);
        let lines = s.log.lines();
        assert!(lines.iter().all(|line| line.get("trace_id").is_none()), "{}", s.log.text());
    });
}
