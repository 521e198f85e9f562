//! A large export survives the death of the function at every kind of call, and lost calls of its plan, and
//! ends although its work takes many times an invocation. The release binary makes the attempt and takes the
//! steps of the state machine, as processes of their own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use bdr_tests::in_process::{Cleaner, now};
use bdr_tests::lambda::{Deployed, Ending, EventSource, Function, TestQueue};
use bdr_tests::proxy::{Call, Fault, Files, HttpProxy, Script, Service, Target};
use bdr_tests::scenario::unique;
use bdr_tests::web::PIXELS;
use bdr_tests::{Artwork, Scenario, ZipFile, scenario_apart};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::vault::ArchiveKey;
use uuid::Uuid;

use crate::process::large_exports::{idle_state_machine, keys, request};

/// Trials at once.
const AT_ONCE: usize = 6;
/// Maximum duration of an attempt with its repetitions.
const PATIENCE: Duration = Duration::from_mins(2);
/// Tries of each step.
const TRIES: u32 = 4;
/// Artworks of a request, of which two are missing. Another post does not exist.
const ARTWORKS: usize = 20;
/// Size of the first artwork in bytes.
const SIZE: usize = 2_000_000;
/// `SEGMENT_BYTES`: of three segments, the last two are copied for the most part.
const SEGMENT_BYTES: usize = 11_000_000;

/// The variables of the processes of a trial.
type Variables = Vec<(&'static str, String)>;

/// A function that takes the steps of the state machine: a new process follows one that died.
struct Steps<'a> {
    deployed: &'a Deployed,
    changed: Variables,
    script: &'a Script,
    /// The directory for the output of the processes.
    logs: &'a Path,
    function: Option<Function>,
}

impl Steps<'_> {
    /// Takes a step, again after a failure or the end of the process. Returns its result.
    async fn take(&mut self, kind: &str, mut parameters: Value) -> Option<String> {
        for retries in 0..TRIES {
            parameters["retries"] = retries.into();
            let mut function = match self.function.take() {
                Some(function) => function,
                None => self.launch().await,
            };
            self.script.aim(function.killer());
            match function.run(json!({ kind: parameters })).await {
                Ok(Ending::Answered(invocation)) => {
                    self.function = Some(function);
                    return Some(invocation.response["result"].as_str().unwrap().to_owned());
                }
                Ok(Ending::Died(_)) => {}
                Err(_) => self.function = Some(function),
            }
        }
        None
    }

    async fn launch(&self) -> Function {
        let changed: Vec<_> = self.changed.iter().map(|(name, it)| (*name, &**it)).collect();
        let log = self.logs.join(format!("{}.log", Uuid::new_v4()));
        Function::launch(&[], self.deployed, &changed, &log).await.unwrap()
    }

    /// Takes all steps of an execution with this input.
    async fn execute(&mut self, input: &Value) -> Option<String> {
        let export = &input["export"];
        for segment in input["segments"].as_array().unwrap() {
            self.take("write_segment", json!({"export": export, "segment": segment})).await?;
        }
        self.take("finish_export", json!({ "export": export })).await
    }
}

/// What a trial did.
struct Trial {
    calls: Vec<Call>,
    /// Uploads that a slow stand-in did not list or abort in time.
    left_to_lifecycle: usize,
}

/// Processes a request with a fault, and the executions that it starts.
async fn trial(
    s: &Scenario,
    deployed: &Deployed,
    state_machine: &str,
    planned: Vec<(Target, Fault)>,
) -> Trial {
    let bdr_id = request(s, ARTWORKS, SIZE).await;
    let script = Arc::new(Script::new(planned.clone()));
    let proxy = HttpProxy::start(script.clone(), s.stack.endpoint(), "").await.unwrap();
    let visibility = Duration::from_secs(5);
    let queue = TestQueue::create(s.sqs.clone(), &unique("q"), visibility).await.unwrap();
    let changed = vec![
        ("AWS_ENDPOINT_URL", proxy.endpoint()),
        ("BDR_QUEUE_URL", queue.url().to_owned()),
        ("DATABASE_URL", s.database_url.clone()),
        ("VAULT_BUCKET", s.bucket().to_owned()),
        ("EXPORT_STATE_MACHINE_ARN", state_machine.to_owned()),
        ("SEGMENT_BYTES", SEGMENT_BYTES.to_string()),
        ("LEASE_SECONDS", "1".to_owned()),
        ("RETRY_BASE_SECONDS", "0".to_owned()),
    ];
    let logs = s.stack.scratch_directory().join(Uuid::new_v4().to_string());
    fs::create_dir(&logs).unwrap();
    let mut source = EventSource::new(deployed, changed.clone(), logs.clone());
    let aimed = Arc::clone(&script);
    source.begin = Box::new(move |killer, _| aimed.aim(killer));
    queue.publish(bdr_id).await.unwrap();
    source.drain(&queue, PATIENCE).await.unwrap();
    source.kill();

    let inputs = started(&proxy);
    let mut steps = Steps { deployed, changed, script: &script, logs: &logs, function: None };
    let mut results = Vec::new();
    for input in inputs.values() {
        results.push(steps.execute(input).await);
    }
    let struck = format!("{planned:?} at {:?}, {results:?}", script.struck());
    assert_eq!(script.struck().len(), planned.len(), "{struck}");
    assert_eq!(s.row(bdr_id).await["status"], "ready", "{struck}");
    assert_eq!(queue.dead_letters().await.unwrap(), 0, "{struck}");
    check(&s.archive(bdr_id).await.unwrap(), &struck);
    let segments = inputs.values().next_back().unwrap();
    let folder = format!("/{}/segment-", segments["export"]["token"]);
    let written = proxy.exchanges().into_iter().filter(|it| {
        let is_segment = it.request.uri().path().contains(&folder);
        let is_end = ["PutObject", "CompleteMultipartUpload"].contains(&&*it.call.operation);
        is_segment && is_end && it.status.is_success()
    });
    // One of them, the first, is the attempt's.
    let all = segments["segments"].as_array().unwrap().len() + 1;
    assert!(written.count() <= all + 1, "{struck}: more than one segment was written again");
    let output =
        fs::read_dir(&logs).unwrap().map(|log| fs::read_to_string(log.unwrap().path()).unwrap());
    let left = output.map(|output| output.matches("leaving it to the lifecycle rule").count());
    Trial { calls: script.calls(), left_to_lifecycle: left.sum() }
}

/// Returns the inputs of the executions that Step Functions accepted, each once, by their tokens.
fn started(proxy: &HttpProxy) -> BTreeMap<i64, Value> {
    let exchanges = proxy.exchanges();
    let starts = exchanges.iter().filter(|it| it.call.operation == "StartExecution");
    let inputs = starts.map(|it| {
        let start: Value = serde_json::from_slice(it.request.body()).unwrap();
        let input: Value = serde_json::from_str(start["input"].as_str().unwrap()).unwrap();
        (input["export"]["token"].as_i64().unwrap(), input)
    });
    inputs.collect()
}

fn check(zip: &ZipFile, trial: &str) {
    let metadata = zip.json("metadata.json");
    let counts = [&metadata["artworks"], &metadata["missing_artworks"]];
    assert_eq!(counts.map(|it| it.as_array().unwrap().len()), [ARTWORKS - 2, 3], "{trial}");
    assert_eq!(zip.contents().len(), ARTWORKS - 2 + 6, "{trial}");
}

/// Returns targets for the first `most` calls of each operation, but only two for the GETs of artworks, and
/// one for the lease.
fn targets(calls: &[Call], most: usize) -> Vec<Target> {
    let mut counts: BTreeMap<(Service, &str), usize> = BTreeMap::new();
    let mut targets = Vec::new();
    for call in calls {
        let count = counts.entry((call.service, &call.operation)).or_default();
        *count += 1;
        let is_artwork = call.operation == "GetObject" && !call.request.contains("/bdr/");
        let is_renewal = call.operation == "ChangeMessageVisibility";
        if *count <= most && (!is_artwork || *count <= 2) && (!is_renewal || *count == 1) {
            targets.push(Target::Nth(call.service, call.operation.clone(), *count));
        }
    }
    targets
}

#[test]
fn a_large_export_survives_kills_at_every_operation_and_lost_calls_of_its_plan() {
    assert_survives(1);
}

/// `cargo test -p bdr-tests --test scenarios kills_at_every_call -- --ignored --nocapture`
#[test]
#[ignore = "it takes ten minutes"]
fn a_large_export_survives_kills_at_every_call() {
    assert_survives(usize::MAX);
}

/// Asserts that an export survives faults at the first `most` calls of each operation.
fn assert_survives(most: usize) {
    scenario_apart(async |s| {
        let deployed = Deployed::process_bdr_job(s.stack).await.unwrap();
        let state_machine = idle_state_machine(&s).await;
        let (s, deployed, state_machine) = (&s, &deployed, &*state_machine);
        let Trial { calls, .. } = trial(s, deployed, state_machine, Vec::new()).await;
        let kinds: BTreeSet<_> = calls.iter().map(ToString::to_string).collect();
        for kind in ["S3 UploadPartCopy", "S3 DeleteObjects", "StepFunctions StartExecution"] {
            assert!(kinds.contains(kind), "{kinds:?}");
        }
        let start = calls.iter().position(|it| it.service == Service::StepFunctions).unwrap();
        let targets = targets(&calls, most);
        let kills = targets.iter().flat_map(|target| {
            [Fault::KillBefore, Fault::KillAfter].map(|fault| vec![(target.clone(), fault)])
        });
        let of_plan = |call: &&Call| {
            ["PutObject", "StartExecution", "ChangeMessageVisibility"].contains(&&*call.operation)
        };
        let mut plan_calls: Vec<Call> = calls[..=start].iter().filter(of_plan).cloned().collect();
        plan_calls.dedup_by(|a, b| a.operation == b.operation && a.service == Service::Sqs);
        let plan_targets = self::targets(&plan_calls, most);
        let lost = plan_targets.iter().flat_map(|target| {
            [Fault::LostRequest, Fault::LostAnswer].map(|fault| vec![(target.clone(), fault)])
        });
        let trials: Vec<_> = kills.chain(lost).collect();
        let count = trials.len();
        let trials: Vec<_> = stream::iter(trials)
            .map(|planned| trial(s, deployed, state_machine, planned))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let left_to_lifecycle = trials.iter().map(|trial| trial.left_to_lifecycle).sum();
        println!("{count} faults at {} kinds of calls", kinds.len());
        // An attempt that died before the execution started leaves its plan to the cleanup.
        let mut cleaner = Cleaner::new(s, &[]).await;
        cleaner.handler.cleanup.clock = Clock::fixed(now() + time::Duration::hours(25));
        cleaner.run(json!({"only": ["orphans"]})).await.unwrap();
        let kept = keys(s).await;
        assert!(kept.iter().all(|key| ArchiveKey::parse(key).is_some()), "{kept:?}");
        assert_eq!(kept.len(), count + 1);
        let open = s.open_uploads().await;
        assert!(open <= left_to_lifecycle, "{open} open uploads");
        let emails = s.emails().await.len();
        assert!(emails <= count + 1 && emails + 4 > count, "{emails} e-mails of {count} requests");
    });
}

/// The timeout of a function, of which 20 s are for the end of an invocation.
const TIMEOUT: Duration = Duration::from_mins(1);
/// The time in which the vault serves an artwork to a function, after the one before.
const PACE: Duration = Duration::from_millis(100);
/// Segments at once, as by default.
const EXPORT_CONCURRENCY: usize = 10;

/// Processes a request whose artworks one function would fetch in `work`, with functions that have a minute.
async fn export_beyond_the_timeout(s: &Scenario, work: Duration) {
    let artworks = usize::try_from(work.as_millis() / PACE.as_millis()).unwrap();
    let mut deployed = Deployed::process_bdr_job(s.stack).await.unwrap();
    deployed.timeout = TIMEOUT;
    let state_machine = idle_state_machine(s).await;
    let (mut posts, mut files) = (Vec::new(), HashMap::new());
    for _ in 0..artworks {
        let sqid = unique("a");
        let art_url = Some(Some(format!("/vault/{sqid}.png")));
        files.insert(format!("/{}/{sqid}.png", s.bucket()), Bytes::from_static(PIXELS));
        let artwork = Artwork { sqid: Some(sqid), file: None, art_url, ..Artwork::default() };
        posts.push(s.artwork(artwork).await);
    }
    let (bdr_id, files) = (s.request(&posts).await, Files::from(files));
    let queue = TestQueue::create(s.sqs.clone(), &unique("q"), TIMEOUT).await.unwrap();
    let (endpoint, script) = (s.stack.endpoint(), Arc::<Script>::default());
    // A proxy of its own for each process: each fetches at this pace.
    let proxy = async || {
        let files = Arc::clone(&files);
        HttpProxy::start_with_pace(Arc::clone(&script), endpoint, "", files, PACE).await.unwrap()
    };
    let changed = |proxy: &HttpProxy| {
        vec![
            ("AWS_ENDPOINT_URL", proxy.endpoint()),
            ("BDR_QUEUE_URL", queue.url().to_owned()),
            ("DATABASE_URL", s.database_url.clone()),
            ("VAULT_BUCKET", s.bucket().to_owned()),
            ("EXPORT_STATE_MACHINE_ARN", state_machine.clone()),
        ]
    };
    let steps = async |kind: &str, parameters: Value| {
        let proxy = proxy().await;
        let (deployed, script, changed) = (&deployed, &*script, changed(&proxy));
        let logs = s.stack.scratch_directory();
        Steps { deployed, changed, script, logs, function: None }.take(kind, parameters).await
    };
    let logs = s.stack.scratch_directory().join(Uuid::new_v4().to_string());
    fs::create_dir(&logs).unwrap();
    let first = proxy().await;
    let mut source = EventSource::new(&deployed, changed(&first), logs);
    let begun = std::time::Instant::now();
    queue.publish(bdr_id).await.unwrap();
    let deliveries = source.drain(&queue, PATIENCE).await.unwrap();
    assert_eq!((deliveries.received, deliveries.died), (1, 0), "{}", source.log());
    let (_, input) = started(&first).into_iter().next().expect("an execution");
    let (export, segments) = (&input["export"], input["segments"].as_array().unwrap());
    let written = stream::iter(segments)
        .map(|segment| steps("write_segment", json!({"export": export, "segment": segment})))
        .buffer_unordered(EXPORT_CONCURRENCY);
    let written: Vec<_> = written.collect().await;
    assert!(written.iter().all(|it| it.as_deref() == Some("written")), "{written:?}");
    let finished = steps("finish_export", json!({ "export": export })).await;
    assert_eq!(finished.as_deref(), Some("ready"));
    let metadata = s.archive(bdr_id).await.unwrap().json("metadata.json");
    assert_eq!(metadata["artwork_count"], artworks);
    let (elapsed, segments) = (begun.elapsed().as_secs(), segments.len() + 1);
    println!("{work:?} of work in {segments} segments took {elapsed} s");
    assert_eq!((keys(s).await.len(), s.open_uploads().await), (1, 0));
}

#[test]
fn work_of_several_timeouts_becomes_ready() {
    scenario_apart(async |s| export_beyond_the_timeout(&s, Duration::from_mins(4)).await);
}

/// `cargo test -p bdr-tests --test scenarios twenty_minutes -- --ignored --nocapture`
#[test]
#[ignore = "it takes several minutes"]
fn twenty_minutes_of_work_with_a_timeout_of_one_become_ready() {
    scenario_apart(async |s| export_beyond_the_timeout(&s, Duration::from_mins(20)).await);
}
