//! Large exports at their scale: many artworks, many segments, ZIP64, and the rules of S3, against a vault that
//! stores sizes and checksums.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bdr_tests::lambda::{Deployed, Function, TestQueue};
use bdr_tests::proxy::HttpProxy;
use bdr_tests::scenario::unique;
use bdr_tests::virtual_s3::VirtualS3;
use bdr_tests::{Delivery, Scenario, Worker, scenario_apart};
use local_stack::seed;
use process_bdr_job::archive::SEGMENT_ARTWORKS;
use process_bdr_job::artwork::Fetcher;
use process_bdr_job::memory::Memory;
use process_bdr_job::remote::{Remote, Web};
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::vault::Vault;
use time::macros::datetime;
use uuid::Uuid;
use zip::ZipArchive;

use super::large_exports::{execute, idle_state_machine, started};
use super::volume::peak_kib;

const MIB: u64 = 1 << 20;

/// A request whose artworks have the sizes `size`, `size + 1`, … in turn.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    artworks: u64,
    size: u64,
    sizes: u64,
    segment_bytes: u64,
    /// Artworks of a segment, and posts read at once.
    segment_artworks: usize,
}

impl Scale {
    /// Inserts the request, with comments and reactions on some artworks, and odd artworks: one of
    /// 1,000 has no file, and one of 1,001 has the name of an earlier one in other letters.
    pub(super) async fn request(&self, s: &Scenario) -> Uuid {
        let insert = "
            INSERT INTO posts (owner_id, public_sqid, title, description, hashtags, art_url, file_format,
                               width, height, created_at)
            SELECT $1, CASE n % 1001 WHEN 1000 THEN 'X' || (n - 1000) ELSE 'x' || n END,
                   'Artwork ' || n, 'Drawn for a scenario.', ARRAY['pixelart'],
                   CASE WHEN n % 1000 <> 7
                        THEN '/vault/made-up/' || ($3 + n % $4) || '/' || n || '.png' END,
                   'png', 16, 32, timestamptz '2025-03-04 05:06:08Z' + n * interval '1 s'
              FROM generate_series(0, $2 - 1) AS n RETURNING id";
        let number = |number: u64| i32::try_from(number).unwrap();
        let (artworks, size, sizes) =
            (number(self.artworks), number(self.size), number(self.sizes));
        let rows = s.database.query(insert, &[&s.user_id, &artworks, &size, &sizes]).await;
        let post_ids: Vec<i32> = rows.unwrap().iter().map(|row| row.get(0)).collect();
        let insert = "
            WITH commented AS (SELECT id FROM unnest($1::integer[]) AS id WHERE id % 50 = 3),
                 comments AS (INSERT INTO comments (post_id, body) SELECT id, 'Lovely' FROM commented)
            INSERT INTO reactions (post_id, emoji) SELECT id, '❤' FROM commented";
        s.database.execute(insert, &[&post_ids]).await.unwrap();
        let request = seed::Request {
            user_id: s.user_id,
            post_ids,
            include_comments: true,
            include_reactions: true,
            ..seed::Request::default()
        };
        request.insert(&s.database).await.unwrap()
    }

    /// Makes the archive in segments and then in one attempt, and asserts that they have the same bytes.
    /// Returns the number of segments and the archive's size.
    async fn assert_same_bytes(&self, s: &Scenario, vault: &VirtualS3) -> (usize, u64) {
        let bdr_id = self.request(s).await;
        let key = s.archive_key(bdr_id);
        let recorder = HttpProxy::start(Arc::default(), s.stack.endpoint(), "").await.unwrap();
        let aws = recorder.sdk_config(s.stack);
        let (bytes, arn) = (self.segment_bytes.to_string(), idle_state_machine(s).await);
        let variables = [("SEGMENT_BYTES", &*bytes), ("EXPORT_STATE_MACHINE_ARN", &arn)];
        let mut worker = with_vault(s.worker_through(&aws, &variables).await, s, vault);
        let segments = worker.handler.job.archiver.segments.as_mut().unwrap();
        segments.artworks = self.segment_artworks;
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        let input = started(&recorder);
        assert_eq!(execute(&worker, &input).await.as_deref(), Some("ready"), "{}", s.log.text());
        assert_eq!(vault.sizes().into_keys().collect::<Vec<_>>(), std::slice::from_ref(&key));
        assert_eq!(vault.open_uploads(), 0);
        let joined = (vault.sizes()[&key], vault.crc32(&key).unwrap());
        self.assert_listed(vault, &key);

        vault.delete(&key);
        s.set(bdr_id, "status = 'pending'").await;
        let worker = with_vault(s.worker(&[]).await, s, vault);
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(joined, (vault.sizes()[&key], vault.crc32(&key).unwrap()), "size and CRC32");
        (input["segments"].as_array().unwrap().len() + 1, joined.0)
    }

    /// Asserts that an independent reader finds every artwork and the documents.
    fn assert_listed(&self, vault: &VirtualS3, key: &str) {
        let mut zip = ZipArchive::new(vault.file(key).unwrap()).unwrap();
        let missing = (0..self.artworks).filter(|n| n % 1000 == 7).count();
        let artworks = usize::try_from(self.artworks).unwrap() - missing;
        let mut json =
            |name: &str| -> Value { serde_json::from_reader(zip.by_name(name).unwrap()).unwrap() };
        let metadata = json("metadata.json");
        assert_eq!(metadata["artwork_count"], artworks);
        assert_eq!(metadata["missing_artworks"].as_array().unwrap().len(), missing);
        let listed = metadata["artworks"].as_array().unwrap();
        assert_eq!(listed.len(), artworks);
        assert!(!json("comments.json")["comments_by_artwork"].as_object().unwrap().is_empty());
        assert!(!json("reactions.json")["reactions_by_artwork"].as_object().unwrap().is_empty());
        let names: Vec<_> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
        assert_eq!(names.len(), artworks + 5 + usize::from(missing > 0));
        let numbers = (0..self.artworks).filter(|n| n % 1000 != 7);
        for ((number, entry), name) in numbers.zip(listed).zip(names) {
            assert_eq!(entry["size_bytes"], self.size + number % self.sizes, "{number}");
            assert_eq!(name, format!("artworks/{}", entry["filename"].as_str().unwrap()));
        }
    }
}

pub(super) fn scale(artworks: u64, size: u64, sizes: u64, segment_bytes: u64) -> Scale {
    Scale { artworks, size, sizes, segment_bytes, segment_artworks: SEGMENT_ARTWORKS }
}

/// Uses this vault, and a clock that stands still, so that two archives of a request have the same bytes. The
/// time suffices for gigabytes in the profile of development.
pub(super) fn with_vault(mut worker: Worker, s: &Scenario, vault: &VirtualS3) -> Worker {
    let aws = s.stack.sdk_config().into_builder().endpoint_url(vault.endpoint()).build();
    let vault = Vault::new(shared::aws::s3(&aws, true), "vault");
    let remote = Arc::new(Remote::new(Web::default(), std::collections::HashSet::new()));
    let memory = Memory::plan(512 * MIB, 64 * MIB);
    let archiver = &mut worker.handler.job.archiver;
    archiver.fetcher = Fetcher::new(vault.clone(), remote, memory);
    archiver.vault = vault;
    archiver.clock = Clock::fixed(datetime!(2025-03-05 00:00 UTC));
    worker.time_left = Duration::from_hours(3);
    worker
}

fn assert_same_bytes(scale: Scale, segments: usize, min_bytes: u64) {
    scenario_apart(async |s| {
        let vault = VirtualS3::start().unwrap();
        let (made, bytes) = scale.assert_same_bytes(&s, &vault).await;
        assert!(made >= segments, "{made} segments");
        assert!(bytes >= min_bytes, "{bytes} bytes");
    });
}

#[test]
fn segments_make_the_bytes_of_one_attempt() {
    let scale = scale(1_500, 40_000, 50, 12 * MIB);
    assert_same_bytes(scale, 4, 50 * MIB);
}

/// Every page of posts, comments, reactions and documents joins the one before without a seam.
#[test]
fn pages_make_the_bytes_of_one_attempt() {
    let scale = Scale { segment_artworks: 150, ..scale(1_500, 4_000, 50, 64 * MIB) };
    assert_same_bytes(scale, 10, 5 * MIB);
}

/// A segment of exactly 5 MiB: S3 copies no range of an object that is not larger.
#[test]
fn a_segment_of_exactly_5_mib_is_joined() {
    // A local header has 30 bytes, the name `artworks/x1.png` 15, and the timestamp 9.
    let scale = scale(4, 5 * MIB - 54, 1, 5 * MIB);
    assert_same_bytes(scale, 3, 20 * MIB);
}

#[test]
#[ignore = "takes minutes: cargo test --test scenarios export_scale -- --ignored"]
fn thirty_thousand_artworks_in_segments_of_64_mib_make_the_bytes_of_one_attempt() {
    let scale = scale(30_000, 65_000, 1_000, 64 * MIB);
    assert_same_bytes(scale, 29, 1_800 * MIB);
}

#[test]
#[ignore = "takes minutes: cargo test --test scenarios export_scale -- --ignored"]
fn an_export_beyond_4_gib_and_65535_entries_makes_the_bytes_of_one_attempt() {
    let scale = scale(70_000, 64_000, 1_000, 256 * MIB);
    assert_same_bytes(scale, 16, 4_200 * MIB);
}

/// What a function took for a step of an export.
#[derive(Debug)]
#[expect(dead_code, reason = "the report has all fields")]
struct Step {
    what: &'static str,
    invocations: usize,
    time: Duration,
    cpu: Duration,
    peak_mib: u64,
}

impl Scale {
    /// Makes the archive by the deployed binary, each kind of step in a process of its own.
    async fn steps(&self, s: &Scenario) -> Vec<Step> {
        let vault = VirtualS3::start().unwrap();
        let bdr_id = self.request(s).await;
        let deployed = Deployed::process_bdr_job(s.stack).await.unwrap();
        let visibility = Duration::from_hours(1);
        let queue = TestQueue::create(s.sqs.clone(), &unique("q"), visibility).await.unwrap();
        let (bytes, arn) = (self.segment_bytes.to_string(), idle_state_machine(s).await);
        let changed = [
            ("BDR_QUEUE_URL", queue.url()),
            ("DATABASE_URL", &s.database_url),
            ("VAULT_BUCKET", "vault"),
            ("AWS_ENDPOINT_URL_S3", &vault.endpoint()),
            ("SEGMENT_BYTES", &bytes),
            ("EXPORT_STATE_MACHINE_ARN", &arn),
        ];
        let log = s.stack.scratch_directory().join(format!("{bdr_id}.log"));
        let run = async |what, events| step(&deployed, &changed, &log, what, events).await;
        let message = queue.deliver(bdr_id).await.unwrap();
        let mut steps = vec![run("attempt", vec![message.event()]).await];
        let keys: Vec<_> = vault.sizes().into_keys().collect();
        let token: i64 = keys[0].split('/').nth(3).unwrap().parse().unwrap();
        let segments = keys.iter().filter(|key| key.contains("/posts-")).count();
        let export = json!({"bdr_id": bdr_id, "user_sqid": s.user_sqid, "token": token});
        let write = |segment| json!({"write_segment": {"export": export, "segment": segment, "retries": 0}});
        steps.push(run("write_segment", (1..segments).map(write).collect()).await);
        let finish = json!({"finish_export": {"export": export, "retries": 0}});
        steps.push(run("finish_export", vec![finish]).await);
        assert_eq!(s.row(bdr_id).await["status"], "ready");
        self.assert_listed(&vault, &s.archive_key(bdr_id));
        let (size, requests) = (vault.sizes().into_values().sum::<u64>(), vault.take_requests());
        println!(
            "{} artworks, {size} bytes, {segments} segments: {steps:#?}, {requests:?}",
            self.artworks
        );
        steps
    }
}

/// Sends these events to a new process.
async fn step(
    deployed: &Deployed,
    changed: &[(&str, &str)],
    log: &Path,
    what: &'static str,
    events: Vec<Value>,
) -> Step {
    let mut function = Function::launch(&[], deployed, changed, log).await.unwrap();
    let (invocations, mut time) = (events.len(), Duration::ZERO);
    for event in events {
        let invocation = function.invoke(event).await;
        time +=
            invocation.unwrap_or_else(|error| panic!("{error}: {}", function.log_tail())).duration;
    }
    let (cpu, peak_mib) = (cpu(function.pid()), peak_kib(function.pid()) / 1024);
    function.stop().await.unwrap();
    Step { what, invocations, time, cpu, peak_mib }
}

/// Returns the CPU time of a process so far, in ticks of 10 ms (`proc_pid_stat(5)`, `utime` and `stime`).
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// Each function's memory for 100 GiB is that for 1 GiB of as many artworks.
#[test]
#[ignore = "takes minutes: cargo test --test scenarios export_scale -- --ignored --nocapture"]
fn an_export_of_100_gib_takes_the_memory_of_one_of_1_gib() {
    scenario_apart(async |s| {
        let of = |size, segment_bytes| scale(20_480, size, 1_000, segment_bytes);
        let small = of(52_000, 10 * MIB).steps(&s).await;
        s.database.execute("UPDATE posts SET public_sqid = NULL", &[]).await.unwrap();
        let large = of(5 * MIB, 1024 * MIB).steps(&s).await;
        for (small, large) in small.iter().zip(&large) {
            assert!(large.peak_mib < 128, "{large:?}");
            // Parts and pieces have buffers, which small artworks in small segments do not fill.
            assert!(large.peak_mib < small.peak_mib + 40, "{large:?} after {small:?}");
        }
    });
}

/// The memory of an artwork in each function.
#[test]
#[ignore = "takes minutes: cargo test --test scenarios export_scale -- --ignored --nocapture"]
fn an_artwork_of_an_export_takes_a_quarter_of_a_kib() {
    scenario_apart(async |s| {
        let of = |artworks| scale(artworks, 1_000, 10, 20 * MIB);
        // More than are written and read at once as documents.
        let few = of(100_000).steps(&s).await;
        s.database.execute("UPDATE posts SET public_sqid = NULL", &[]).await.unwrap();
        let many = of(200_000).steps(&s).await;
        for (few, many) in few.iter().zip(&many) {
            let bytes = (many.peak_mib.saturating_sub(few.peak_mib)) * MIB / 100_000;
            println!("{}: {bytes} bytes an artwork", few.what);
            assert!(bytes < 256, "{few:?} {many:?}");
        }
    });
}

#[test]
#[ignore = "takes 10 minutes: cargo test --test scenarios export_scale -- --ignored --nocapture"]
fn a_million_artworks_fit_a_function_of_512_mb() {
    scenario_apart(async |s| {
        for step in scale(1_000_000, 1_000, 10, 20 * MIB).steps(&s).await {
            assert!(step.peak_mib < 384, "{step:?}");
        }
    });
}
