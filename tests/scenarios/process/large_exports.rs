//! A request that is too large for one attempt is written in segments, which a state machine joins.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bdr_tests::proxy::{DatabaseWire, Fault, HttpProxy, Script, Target};
use bdr_tests::scenario::unique;
use bdr_tests::web::{self, PIXELS, Visits};
use bdr_tests::{Artwork, Delivery, Scenario, Worker, ZipFile, scenario};
use futures_util::future::join_all;
use local_stack::remote::RemoteHost;
use serde_json::{Value, json};
use shared::failure::OUR_LASTING_FAULT;
use shared::lambda::ErrorType;
use tokio::sync::watch;
use uuid::Uuid;

use super::archives_open_everywhere::open_in_every_reader;
use crate::deploy::deployed_stack::aws;

/// Tries of each step of the state machine.
const TRIES: u32 = 4;

/// Begins the export of a request, cut after this many bytes, on this state machine. Returns the input of
/// its execution.
pub(crate) async fn begin(
    s: &Scenario,
    bdr_id: Uuid,
    segment_bytes: u64,
    state_machine: &str,
) -> Value {
    begin_with(s, bdr_id, segment_bytes, state_machine, &[]).await
}

/// Does the same with further environment variables.
pub(super) async fn begin_with(
    s: &Scenario,
    bdr_id: Uuid,
    segment_bytes: u64,
    state_machine: &str,
    variables: &[(&str, &str)],
) -> Value {
    let recorder = HttpProxy::start(Arc::default(), s.stack.endpoint(), "").await.unwrap();
    let segment_bytes = segment_bytes.to_string();
    let own = [("SEGMENT_BYTES", &*segment_bytes), ("EXPORT_STATE_MACHINE_ARN", state_machine)];
    let variables = [&own, variables].concat();
    let worker = s.worker_through(&recorder.sdk_config(s.stack), &variables).await;
    assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
    assert_eq!(s.row(bdr_id).await["status"], "processing", "{}", s.log.text());
    started(&recorder)
}

/// Returns the input of the only execution that was started through `recorder`.
pub(super) fn started(recorder: &HttpProxy) -> Value {
    let exchanges = recorder.exchanges();
    let starts: Vec<_> =
        exchanges.iter().filter(|it| it.call.operation == "StartExecution").collect();
    assert_eq!(starts.len(), 1);
    let start: Value = serde_json::from_slice(starts[0].request.body()).unwrap();
    serde_json::from_str(start["input"].as_str().unwrap()).unwrap()
}

/// Creates a state machine whose executions do nothing, so that a scenario can take its place.
pub(crate) async fn idle_state_machine(s: &Scenario) -> String {
    state_machine(s, json!({"Type": "Pass", "End": true})).await
}

/// Creates a state machine with this state. Returns its ARN.
pub(crate) async fn state_machine(s: &Scenario, state: Value) -> String {
    let definition = json!({"StartAt": "Only", "States": {"Only": state}}).to_string();
    let (name, role) = (unique("idle-"), "arn:aws:iam::000000000000:role/none");
    let arguments = ["--name", &name, "--definition", &definition, "--role-arn", role];
    let create = ["stepfunctions", "create-state-machine"];
    let created = aws(s, &[&create[..], &arguments].concat()).await;
    created["stateMachineArn"].as_str().unwrap().to_owned()
}

/// Starts the execution of an export on a state machine. Returns its ARN.
pub(crate) async fn start(s: &Scenario, state_machine: &str, input: &Value) -> String {
    let export = &input["export"];
    let name = format!("{}-{}", export["bdr_id"].as_str().unwrap(), export["token"]);
    let (start, input) = (["stepfunctions", "start-execution"], input.to_string());
    let arguments = ["--state-machine-arn", state_machine, "--name", &name, "--input", &input];
    let started = aws(s, &[&start[..], &arguments].concat()).await;
    started["executionArn"].as_str().unwrap().to_owned()
}

/// Sends an event as the state machine does: again after an error that may pass, up to [`TRIES`] times.
/// Returns the result, if a try succeeded.
async fn step(worker: &Worker, kind: &str, mut parameters: Value) -> Option<String> {
    for retries in 0..TRIES {
        parameters["retries"] = retries.into();
        match worker.export(json!({ kind: parameters })).await {
            Ok(answer) => return Some(answer["result"].as_str().unwrap().to_owned()),
            Err(error) if error.error_type().is_permanent() => return None,
            Err(_) => {}
        }
    }
    None
}

/// Takes the place of the state machine. Returns the result of the last step.
pub(crate) async fn execute(worker: &Worker, input: &Value) -> Option<String> {
    write_segments(worker, input).await;
    execute_finish(worker, input).await
}

async fn write_segments(worker: &Worker, input: &Value) {
    let export = &input["export"];
    for segment in input["segments"].as_array().unwrap() {
        let written = step(worker, "write_segment", json!({"export": export, "segment": segment}));
        assert_eq!(written.await.as_deref(), Some("written"));
    }
}

async fn execute_finish(worker: &Worker, input: &Value) -> Option<String> {
    step(worker, "finish_export", json!({ "export": input["export"] })).await
}

/// Inserts a request for artworks of `size` bytes and more, some of them odd, with comments and reactions.
pub(crate) async fn request(s: &Scenario, artworks: usize, size: usize) -> Uuid {
    let mut posts = Vec::new();
    let twin = unique("t");
    for n in 0..artworks {
        let file = vec![u8::try_from(n % 251).unwrap(); size + n];
        let artwork = match n % 10 {
            3 => Artwork { file: None, title: "Gone", ..Artwork::default() },
            5 => Artwork { file: Some(&file), file_format: Some("bmp"), ..Artwork::default() },
            6 => Artwork { file: Some(b""), ..Artwork::default() },
            _ => Artwork { file: Some(&file), ..Artwork::default() },
        };
        // The first and the last artwork differ in case only, in different segments.
        let sqid = match n {
            0 => Some(twin.clone()),
            _ if n == artworks - 1 => Some(twin.to_uppercase()),
            _ => artwork.sqid.clone(),
        };
        posts.push(s.artwork(Artwork { sqid, ..artwork }).await);
        if n % 7 == 0 {
            let comment =
                "INSERT INTO comments (post_id, body, created_at) VALUES ($1, 'Lovely', now())";
            s.database.execute(comment, &[&posts[n]]).await.unwrap();
        }
    }
    posts.push(-1);
    let bdr_id = s.request(&posts).await;
    s.set(bdr_id, "include_comments = true, include_reactions = true").await;
    bdr_id
}

/// Returns the keys of the artist under `bdr/`.
pub(crate) async fn keys(s: &Scenario) -> Vec<String> {
    sizes(s).await.into_iter().map(|(key, _)| key).collect()
}

/// Returns the keys of the artist under `bdr/`, in order, with the sizes of their objects in bytes.
pub(crate) async fn sizes(s: &Scenario) -> Vec<(String, i64)> {
    let prefix = format!("bdr/{}/", s.user_sqid);
    let listed = s.s3.list_objects_v2().bucket(s.bucket()).prefix(prefix).send().await.unwrap();
    let objects = listed.contents().iter();
    objects.map(|object| (object.key().unwrap().to_owned(), object.size().unwrap())).collect()
}

/// Returns the artist's only key under `bdr/` with this end.
pub(crate) async fn key_of(s: &Scenario, end: &str) -> String {
    let keys = keys(s).await;
    let mut found = keys.iter().filter(|key| key.ends_with(end));
    let (Some(key), None) = (found.next(), found.next()) else { panic!("{end} in {keys:?}") };
    key.clone()
}

/// Returns the documents and files of a ZIP, without what differs between two ZIPs of one request.
fn comparable(zip: &ZipFile) -> Vec<(String, Vec<u8>)> {
    let mut contents = zip.contents();
    for document in ["metadata.json", "comments.json", "reactions.json"] {
        let mut value: Value = zip.json(document);
        value["generated_at"] = Value::Null;
        contents.insert(document.to_owned(), value.to_string().into_bytes());
    }
    // They contain the checksums, and the time, of the documents.
    contents.retain(|name, _| name != "SHA256SUMS" && name != "index.html");
    contents.into_iter().collect()
}

/// Asserts that the export made the archive that one attempt makes, and left nothing else.
pub(crate) async fn assert_whole(s: &Scenario, bdr_id: Uuid) {
    assert_eq!(keys(s).await, [s.archive_key(bdr_id)]);
    assert_eq!(s.open_uploads().await, 0);
    let before = s.emails().await.len();
    let joined = s.archive(bdr_id).await.unwrap();

    s.set(bdr_id, "status = 'pending'").await;
    s.s3.delete_object().bucket(s.bucket()).key(s.archive_key(bdr_id)).send().await.unwrap();
    assert_eq!(s.worker(&[]).await.receive(bdr_id).await, Delivery::Acknowledged);
    let whole = s.archive(bdr_id).await.unwrap();
    let names = joined.names();
    assert_eq!(names, whole.names());
    let (joined_bytes, joined, whole) =
        (joined.bytes.clone(), comparable(&joined), comparable(&whole));
    for (joined, whole) in joined.iter().zip(&whole) {
        assert!(joined == whole, "{} differs from {}", joined.0, whole.0);
    }
    assert_eq!(names.len(), joined.len() + 2, "all but the page and the checksums");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("joined.zip");
    std::fs::write(&path, &joined_bytes).unwrap();
    open_in_every_reader(&path, names.len());
    assert_eq!(s.emails().await.len(), before + 1);
}

#[test]
fn the_segments_of_a_large_request_become_its_archive() {
    scenario(async |s| {
        let bdr_id = request(&s, 60, 600_000).await;
        let state_machine = s.stack.output("ExportStateMachineArn").unwrap();
        let input = begin(&s, bdr_id, 7_000_000, state_machine).await;
        assert!(input["segments"].as_array().unwrap().len() > 1, "{input}");
        s.wait_for(bdr_id, "ready").await;
        s.wait("the export's own objects to be deleted", async || {
            Ok((keys(&s).await.len() == 1).then_some(()))
        })
        .await;
        assert_eq!(s.emails().await.len(), 1);
        assert_whole(&s, bdr_id).await;
    });
}

#[test]
fn segments_smaller_than_a_part_are_joined_too() {
    scenario(async |s| {
        let bdr_id = request(&s, 30, 10_000).await;
        let input = begin(&s, bdr_id, 50_000, &idle_state_machine(&s).await).await;
        assert!(input["segments"].as_array().unwrap().len() > 2, "{input}");
        let worker = s.worker(&[]).await;
        write_segments(&worker, &input).await;
        let mut segments = sizes(&s).await;
        // The attempt wrote the first one.
        segments.retain(|(key, _)| key.contains("/segment-") && !key.ends_with("/segment-00000"));
        assert_eq!(execute_finish(&worker, &input).await.as_deref(), Some("ready"));
        assert!(s.log.outcome()["wait_ms"].is_u64(), "{}", s.log.outcome());
        let metrics = s.log.emitted();
        let emitted =
            |name: &str| -> Vec<_> { metrics.iter().filter_map(|line| line.get(name)).collect() };
        let segments: Vec<_> = segments.into_iter().map(|(_, size)| size).collect();
        assert_eq!(emitted("bdr_segment_size_bytes"), segments);
        let durations = emitted("bdr_segment_duration_seconds");
        assert_eq!(durations.len(), segments.len());
        assert!(durations.iter().all(|it| it.as_f64().unwrap() > 0.0), "{durations:?}");
        let waits = ["bdr_export_wait_seconds", "bdr_wait_seconds"];
        assert_eq!(waits.map(|name| emitted(name).len()), [1, 0]);
        assert_eq!(s.emails().await.len(), 1);
        assert_whole(&s, bdr_id).await;
    });
}

#[test]
fn artworks_of_the_web_that_arrive_late_keep_their_places() {
    scenario(async |s| {
        let (open, is_open) = watch::channel(false);
        let serve = async move || {
            let _ = is_open.clone().wait_for(|is_open| *is_open).await;
            PIXELS
        };
        let routes = Router::new().route("/late/{*path}", get(serve));
        let host = RemoteHost::with_routes(routes).unwrap();
        let (mut posts, file) = (Vec::new(), vec![7; 100_000]);
        let titles: Vec<_> = (0..20).map(|n| n.to_string()).collect();
        for (n, title) in titles.iter().enumerate() {
            let artwork = Artwork { title, ..Artwork::default() };
            posts.push(if n % 4 == 0 {
                let art_url = Some(Some(host.url(&format!("/late/{n}.png"))));
                s.artwork(Artwork { file: None, art_url, ..artwork }).await
            } else {
                s.artwork(Artwork { file: Some(&file), ..artwork }).await
            });
        }
        let bdr_id = s.request(&posts).await;
        let (state_machine, web) = (idle_state_machine(&s).await, host.authority());
        let variables = [("REMOTE_ALLOW_HOSTS", web)];
        let input = begin_with(&s, bdr_id, 600_000, &state_machine, &variables).await;
        open.send(true).unwrap();
        let worker = s.worker(&variables).await;
        assert_eq!(execute(&worker, &input).await.as_deref(), Some("ready"), "{}", s.log.text());
        let zip = s.archive(bdr_id).await.unwrap();
        let metadata = zip.json("metadata.json");
        let artworks = metadata["artworks"].as_array().unwrap();
        let listed: Vec<_> = artworks.iter().map(|it| it["title"].as_str().unwrap()).collect();
        assert_eq!(listed, titles);
        let filename = artworks[0]["filename"].as_str().unwrap();
        assert!(!zip.names()[0].ends_with(filename), "the first segment has others of its page");
    });
}

#[test]
fn an_export_without_any_artwork_fails_with_the_words_of_an_attempt() {
    scenario(async |s| {
        let mut posts = Vec::new();
        for _ in 0..5 {
            posts.push(s.artwork(Artwork { file: None, ..Artwork::default() }).await);
        }
        let bdr_id = s.request(&posts).await;
        let recorder = HttpProxy::start(Arc::default(), s.stack.endpoint(), "").await.unwrap();
        let arn = idle_state_machine(&s).await;
        let variables = [("EXPORT_STATE_MACHINE_ARN", &*arn)];
        let mut worker = s.worker_through(&recorder.sdk_config(s.stack), &variables).await;
        // A page of two posts, which are missing: the state machine has to see the others.
        worker.handler.job.archiver.segments.as_mut().unwrap().artworks = 2;
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        let result = execute(&worker, &started(&recorder)).await;
        assert_eq!(result.as_deref(), Some("failed"), "{}", s.log.text());
        let message = s.row(bdr_id).await["error_message"].clone();
        assert!(message.as_str().unwrap().contains("their files are missing"), "{message}");
        assert_eq!((keys(&s).await, s.open_uploads().await), (vec![], 0));
        assert_eq!(s.emails().await.len(), 1);
    });
}

#[test]
fn a_first_page_that_may_still_arrive_is_tried_again() {
    scenario(async |s| {
        let host = RemoteHost::with_routes(web::routes(Visits::default())).unwrap();
        let mut posts = Vec::new();
        for path in ["/status/503/a", "/status/503/b"] {
            let art_url = Some(Some(host.url(path)));
            posts.push(s.artwork(Artwork { file: None, art_url, ..Artwork::default() }).await);
        }
        posts.push(s.artwork(Artwork::default()).await);
        let bdr_id = s.request(&posts).await;
        let arn = idle_state_machine(&s).await;
        let variables = [
            ("EXPORT_STATE_MACHINE_ARN", &*arn),
            ("REMOTE_ALLOW_HOSTS", host.authority()),
            ("RETRY_BASE_SECONDS", "1"),
        ];
        let mut worker = s.worker(&variables).await;
        worker.handler.job.archiver.segments.as_mut().unwrap().artworks = 2;
        assert_ne!(worker.receive(bdr_id).await, Delivery::Acknowledged, "{}", s.log.text());
        assert_eq!(s.row(bdr_id).await["status"], "pending");
        assert_eq!((keys(&s).await, s.open_uploads().await), (vec![], 0));
    });
}

/// Carries out an export whose `n`-th call of AWS has this fault. Returns whether there was such a call.
async fn with_fault(s: &Scenario, state_machine: &str, n: usize, fault: Fault) -> bool {
    let bdr_id = request(s, 8, 200_000).await;
    let input = begin(s, bdr_id, 500_000, state_machine).await;
    let script = Arc::new(Script::new(vec![(Target::After(n), fault)]));
    let proxy = HttpProxy::start(script.clone(), s.stack.endpoint(), "").await.unwrap();
    let worker = s.worker_through(&proxy.sdk_config(s.stack), &[]).await;
    let result = execute(&worker, &input).await;
    let struck = format!("{:?}, {result:?}", script.struck());
    assert_eq!(s.row(bdr_id).await["status"], "ready", "{struck}");
    let zip = s.archive(bdr_id).await.unwrap();
    let metadata = zip.json("metadata.json");
    let counts = [&metadata["artworks"], &metadata["missing_artworks"]];
    assert_eq!(counts.map(|it| it.as_array().unwrap().len()), [7, 2], "{struck}");
    assert_eq!(zip.contents().len(), 7 + 6, "{struck}");
    !script.struck().is_empty()
}

#[test]
fn a_fault_of_any_call_of_an_export_loses_nothing() {
    /// Exports at a time: most of them wait before a retry.
    const AT_ONCE: usize = 10;
    scenario(async |s| {
        let state_machine = idle_state_machine(&s).await;
        let mut exports = 0;
        for fault in [Fault::LostRequest, Fault::LostAnswer] {
            let mut calls = 0;
            loop {
                let trials =
                    (calls + 1..=calls + AT_ONCE).map(|n| with_fault(&s, &state_machine, n, fault));
                let struck = join_all(trials).await.into_iter().filter(|struck| *struck).count();
                exports += AT_ONCE;
                calls += struck;
                if struck < AT_ONCE {
                    break;
                }
            }
            assert!(calls > 15, "{fault:?} struck {calls} calls");
        }
        assert!(s.emails().await.len() <= exports);
        assert_eq!(s.open_uploads().await, 0);
    });
}

#[test]
fn an_export_that_the_state_machine_gives_up_fails_its_request() {
    scenario(async |s| {
        let bdr_id = request(&s, 20, 600_000).await;
        let input = begin(&s, bdr_id, 5_500_000, &idle_state_machine(&s).await).await;
        let fail = json!({"export": input["export"], "cause": "States.TaskFailed"});
        let worker = s.worker(&[]).await;
        worker.export(json!({ "fail_export": fail })).await.unwrap();
        let row = s.row(bdr_id).await;
        assert_eq!(row["status"], "failed");
        assert_eq!(s.emails().await.len(), 1);
        assert_eq!(s.open_uploads().await, 1, "an operator can resume it");
        let plan = |key: &String| key.ends_with("/plan.json");
        assert!(keys(&s).await.iter().any(plan));
        // After an erasure it is over.
        s.set(bdr_id, "status = 'expired'").await;
        worker.export(json!({ "fail_export": fail })).await.unwrap();
        assert_eq!((keys(&s).await, s.open_uploads().await), (vec![], 0));
        let late = json!({"export": input["export"], "segment": 1});
        assert_eq!(step(&worker, "write_segment", late).await.as_deref(), Some("skipped"));
        assert_eq!(keys(&s).await, Vec::<String>::new());
    });
}

#[test]
fn a_permanent_failure_of_a_segment_is_not_tried_again() {
    scenario(async |s| {
        let bdr_id = request(&s, 12, 600_000).await;
        let input = begin(&s, bdr_id, 1_200_000, &idle_state_machine(&s).await).await;
        s.put(&key_of(&s, "posts-00002.json").await, b"malformed").await;
        let state_machine = s.stack.output("ExportStateMachineArn").unwrap();
        let execution = start(&s, state_machine, &input).await;
        let row = s.wait_for(bdr_id, "failed").await;
        let history = ["stepfunctions", "get-execution-history", "--execution-arn", &execution];
        let history = aws(&s, &history).await;
        let events = history["events"].as_array().unwrap().iter();
        let failed = events.map(|event| &event["taskFailedEventDetails"]["error"]);
        let failed: Vec<_> = failed.filter(|error| error.is_string()).collect();
        assert_eq!(failed, ["LastingFault"]);
        assert_eq!(row["error_message"], OUR_LASTING_FAULT);
        assert_eq!(s.emails().await.len(), 1);
    });
}

#[test]
fn an_export_that_is_too_large_says_so() {
    scenario(async |s| {
        let bdr_id = request(&s, 12, 600_000).await;
        let input = begin(&s, bdr_id, 1_200_000, &idle_state_machine(&s).await).await;
        let worker = s.worker(&[("MAX_ARCHIVE_BYTES", "500000")]).await;
        let segment = json!({"export": input["export"], "segment": 1, "retries": 0});
        let error = worker.export(json!({ "write_segment": segment })).await.unwrap_err();
        assert_eq!(error.error_type(), ErrorType::RequestTooLarge);
        let fail = json!({"export": input["export"], "cause": error.error_type().as_str()});
        worker.export(json!({ "fail_export": fail })).await.unwrap();
        let row = s.row(bdr_id).await;
        let message = row["error_message"].as_str().unwrap();
        assert!(message.contains("Please request fewer artworks at once."), "{message}");
    });
}

#[test]
fn an_export_with_a_malformed_plan_fails_its_request() {
    scenario(async |s| {
        let state_machine = idle_state_machine(&s).await;
        for (event, more) in [("finish_export", "retries"), ("fail_export", "cause")] {
            let bdr_id = request(&s, 6, 200_000).await;
            let input = begin(&s, bdr_id, 500_000, &state_machine).await;
            let folder = format!("{bdr_id}/{}/plan.json", input["export"]["token"]);
            s.put(&key_of(&s, &folder).await, b"malformed").await;
            let mut parameters = json!({ "export": input["export"] });
            parameters[more] = if more == "cause" { "LastingFault".into() } else { 0.into() };
            let answer = s.worker(&[]).await.export(json!({ event: parameters })).await.unwrap();
            assert_eq!(answer["result"], "failed", "{event}");
            assert_eq!(s.row(bdr_id).await["error_message"], OUR_LASTING_FAULT, "{event}");
        }
    });
}

#[test]
fn a_segment_that_is_written_is_not_written_again_by_a_resumed_export() {
    scenario(async |s| {
        let bdr_id = request(&s, 12, 600_000).await;
        let input = begin(&s, bdr_id, 1_200_000, &idle_state_machine(&s).await).await;
        let first = json!({"export": input["export"], "segment": 1});
        let written = step(&s.worker(&[]).await, "write_segment", first).await;
        assert_eq!(written.as_deref(), Some("written"));
        let mut resumed = input.clone();
        let token = input["export"]["token"].as_i64().unwrap();
        resumed["export"]["token"] = (token + 1).into();
        resumed["export"]["resumes"] = token.into();
        let claim = "started_at = started_at + interval '1 microsecond'";
        s.set(bdr_id, claim).await;
        let recorder = HttpProxy::start(Arc::default(), s.stack.endpoint(), "").await.unwrap();
        let worker = s.worker_through(&recorder.sdk_config(s.stack), &[]).await;
        assert_eq!(execute(&worker, &resumed).await.as_deref(), Some("ready"));
        let writes = recorder.exchanges();
        let writes = writes.iter().filter(|it| {
            it.request.method() == "PUT" && it.request.uri().path().ends_with("/segment-00001")
        });
        assert_eq!(writes.count(), 0);
        // The execution that it replaces changes nothing.
        assert_eq!(execute_finish(&worker, &input).await.as_deref(), Some("skipped"));
        assert_eq!(s.emails().await.len(), 1);
        assert_whole(&s, bdr_id).await;
    });
}

#[test]
fn a_superseded_export_changes_nothing_and_leaves_nothing() {
    scenario(async |s| {
        let bdr_id = request(&s, 12, 600_000).await;
        let state_machine = idle_state_machine(&s).await;
        let first = begin(&s, bdr_id, 1_200_000, &state_machine).await;
        let second = begin(&s, bdr_id, 1_200_000, &state_machine).await;
        assert_ne!(first["export"]["token"], second["export"]["token"]);
        let worker = s.worker(&[]).await;
        assert_eq!(execute(&worker, &first).await.as_deref(), Some("skipped"));
        assert_eq!(s.row(bdr_id).await["status"], "processing");
        let fail = json!({"export": first["export"], "cause": "States.TaskFailed"});
        worker.export(json!({ "fail_export": fail })).await.unwrap();
        assert_eq!(s.row(bdr_id).await["status"], "processing");
        assert_eq!(execute(&worker, &second).await.as_deref(), Some("ready"));
        assert_eq!(s.emails().await.len(), 1);
        assert_whole(&s, bdr_id).await;
    });
}

/// Ends an export by an event during which the database never responds again from the change to this
/// status on, then by the event's next try. `fault` tells whether the database executes the change. Returns
/// the result of the last try.
async fn end_in_silence(
    s: &Scenario,
    input: &Value,
    event: &str,
    to: &str,
    fault: Fault,
) -> String {
    let lost = (Target::Containing(format!("SET status = '{to}'")), fault);
    let gone = (Target::After(1), Fault::LostRequest);
    let script = Arc::new(Script::new([vec![lost], vec![gone; 1000]].concat()));
    let proxy = DatabaseWire::start(script, &s.database_url).await.unwrap();
    let mut worker = s.worker(&[("DATABASE_URL", proxy.url())]).await;
    worker.time_left = Duration::from_secs(24);
    let mut parameters = json!({ "export": input["export"] });
    let (key, values) = match event {
        "fail_export" => ("cause", ["States.TaskFailed".into(), "States.TaskFailed".into()]),
        _ => ("retries", [0.into(), Value::from(1)]),
    };
    parameters[key] = values[0].clone();
    let before = keys_of(s, &input["export"]).await;
    assert!(worker.export(json!({ event: parameters })).await.is_err(), "{}", s.log.text());
    assert_eq!(keys_of(s, &input["export"]).await, before, "the segments are kept");
    parameters[key] = values[1].clone();
    let answer = s.worker(&[]).await.export(json!({ event: parameters })).await.unwrap();
    answer["result"].as_str().unwrap().to_owned()
}

/// Returns the keys of the export's own objects.
async fn keys_of(s: &Scenario, export: &Value) -> Vec<String> {
    let folder = format!("/{}/{}/", export["bdr_id"].as_str().unwrap(), export["token"]);
    keys(s).await.into_iter().filter(|key| key.contains(&folder)).collect()
}

#[test]
fn an_export_whose_row_may_be_unchanged_is_ended_again() {
    scenario(async |s| {
        let (s, state_machine) = (&s, &idle_state_machine(&s).await);
        let cases =
            [("finish_export", "ready"), ("finish_export", "failed"), ("fail_export", "failed")];
        let faults = [Fault::LostRequest, Fault::LostAnswer];
        let trials = cases.iter().flat_map(|case| faults.map(|fault| (*case, fault)));
        let trials: Vec<_> = trials.collect();
        let ended = trials.iter().map(async |((event, to), fault)| {
            let bdr_id = request(s, 8, 200_000).await;
            let input = begin(s, bdr_id, 500_000, state_machine).await;
            for segment in input["segments"].as_array().unwrap() {
                let parameters = json!({"export": input["export"], "segment": segment});
                step(&s.worker(&[]).await, "write_segment", parameters).await.unwrap();
            }
            if (*event, *to) == ("finish_export", "failed") {
                // A permanent failure.
                let manifest = keys_of(s, &input["export"]).await;
                let manifest = manifest.into_iter().find(|key| key.contains("manifest")).unwrap();
                s.s3.delete_object().bucket(s.bucket()).key(manifest).send().await.unwrap();
            }
            let result = end_in_silence(s, &input, event, to, *fault).await;
            let case = format!("{event}, {to}, {fault:?}");
            assert_eq!(result, *to, "{case}");
            assert_eq!(s.row(bdr_id).await["status"], *to, "{case}");
            let is_kept = event == &"fail_export" && *fault == Fault::LostRequest;
            assert_eq!(keys_of(s, &input["export"]).await.is_empty(), !is_kept, "{case}");
            // An e-mail that was sent is not due any more.
            let worker = s.worker(&[]).await;
            let late = worker.receive_again(&Scenario::message(bdr_id), 2).await;
            assert_eq!(late, Delivery::Acknowledged, "{case}");
        });
        join_all(ended).await;
        assert_eq!(s.emails().await.len(), trials.len());
        assert_eq!(s.open_uploads().await, 0);
    });
}
