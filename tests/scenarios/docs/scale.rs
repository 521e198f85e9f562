//! Time, price and limits of large exports, calculated from measured rates and by the functions' own rules for
//! segments and copies. docs/performance.md has the tables.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use local_stack::Workspace;
use process_bdr_job::archive::{Pace, SEGMENT_ARTWORKS, Segments};
use shared::vault::{MAX_PARTS, PartSizes, copied_parts};

const MIB: f64 = 1024.0 * 1024.0;
const GIB: f64 = 1024.0 * MIB;
const TIB: f64 = 1024.0 * GIB;

// What was measured at 512 MB, in seconds and bytes (docs/performance.md).

/// Bytes a second of a function that receives and sends them: `Large`, in pieces.
const BYTES_PER_S: f64 = 64.4e6;
/// Time of a small artwork: W2, warm.
const ARTWORK_S: f64 = 2.47 / 5_000.0;
/// Time of a cold start, and of what a request takes beside its artworks: W1, cold.
const START_S: f64 = 0.37;
/// Time of an artwork that is loaded and planned and not fetched by the first attempt: CPU time of 100,000.
const PLAN_ARTWORK_S: f64 = PLAN_CPU_S / 100_000.0 * 1_769.0 / 512.0;
const PLAN_CPU_S: f64 = 0.63;
/// Time of an artwork in `finish_export`: CPU time of 100,000, at 512 of the 1,769 MB that have one CPU.
const FINISH_ARTWORK_S: f64 = FINISH_CPU_S / 100_000.0 * 1_769.0 / 512.0;
const FINISH_CPU_S: f64 = 2.9;
/// Memory of an artwork in the first attempt and in `finish_export`, and of the process with pages of artworks.
const MEMORY: [(&str, f64); 2] = [("first attempt", 60.0), ("`finish_export`", 190.0)];
const BASE_BYTES: f64 = 100.0 * MIB;

// What the model of S3 assumes.

const COPY_S: f64 = 0.045;
const COPIED_BYTES_PER_S: f64 = 400e6;
/// Copies at once (`shared/src/vault/upload/resume.rs`).
const COPIES: f64 = 32.0;

// List prices of us-east-1, in dollars.

const GIB_SECOND: f64 = 0.000_013_333_4;
const READ: f64 = 0.4e-6;
const WRITE: f64 = 5e-6;
const TRANSITION: f64 = 25e-6;

// Quotas.

/// "Amazon S3 multipart upload limits": 10,000 parts of 5 GiB.
const MAX_OBJECT: f64 = 48.8 * TIB;
/// AWS Step Functions, "Quotas related to state machine executions".
const MAX_EVENTS: f64 = 25_000.0;
/// Entered and exited, scheduled, started and succeeded, and the start and end of the iteration.
const EVENTS_OF_SEGMENT: f64 = 7.0;
/// AWS Step Functions, "Quotas related to task executions".
const MAX_PAYLOAD: f64 = 262_144.0;
/// AWS Lambda, "Function timeout", without the guard of an attempt.
const MAX_INVOCATION_S: f64 = 900.0 - 20.0;
/// The state machine's `TimeoutSeconds`.
const MAX_EXECUTION_S: f64 = 18_000.0;
const MEMORY_BYTES: f64 = 512.0 * MIB;
/// Size of a large artwork's piece, and the size from which there are pieces.
const PIECE: f64 = 11.0 / 3.0 * MIB;

/// An export to calculate.
#[derive(Clone, Copy)]
struct Export {
    name: &'static str,
    artworks: f64,
    bytes: f64,
    segment_bytes: f64,
    /// Segments that are written at the same time.
    workers: f64,
}

/// What an export takes.
struct Calculated {
    segments: f64,
    first_s: f64,
    one_s: f64,
    finish_s: f64,
    total_s: f64,
    parts: f64,
    dollars: f64,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, below 2^53")]
fn whole(number: f64) -> u64 {
    number.ceil() as u64
}

#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}

/// Returns the time in which a function fetches and writes these artworks.
fn work(artworks: f64, bytes: f64) -> f64 {
    START_S + (bytes / BYTES_PER_S).max(artworks * ARTWORK_S)
}

impl Export {
    fn calculate(self) -> Calculated {
        let Self { artworks, bytes, segment_bytes, workers, .. } = self;
        let size = bytes / artworks;
        let rule = Segments { bytes: whole(segment_bytes), artworks: SEGMENT_ARTWORKS };
        let requested = usize::try_from(whole(artworks)).unwrap();
        let is_full = |first: &u64| {
            let artworks = usize::try_from(*first).unwrap();
            rule.is_full(whole(float(*first) * size), artworks, requested)
        };
        let first = float((1..whole(artworks)).find(is_full).unwrap());
        let written_s = work(first, first * size);
        let first_s = written_s + artworks * PLAN_ARTWORK_S;
        let pace = Pace {
            artworks: usize::try_from(whole(first)).unwrap(),
            bytes: whole(first * size),
            time: Duration::from_secs_f64(written_s),
        };
        let left = artworks - first;
        let time = Duration::from_secs_f64(MAX_INVOCATION_S);
        let segments = float(rule.count(usize::try_from(whole(left)).unwrap(), &pace, time) as u64);
        let (in_one, of_one) = (left / segments, left / segments * size);
        let one_s = work(in_one, of_one);
        let copies = segments * float(copied_parts(whole(of_one), whole(bytes)));
        let first_parts = float(PartSizes::default().count(whole(first * size)).into());
        let copy_s = COPY_S + segments * of_one / copies / COPIED_BYTES_PER_S;
        let documents = segments + 1.0;
        let finish_s = START_S + artworks * FINISH_ARTWORK_S + (copies / COPIES).ceil() * copy_s;
        let total_s = first_s + (segments / workers).ceil() * one_s + finish_s;
        let pieces = if size > 1.5 * PIECE { (size / PIECE).ceil() } else { 1.0 };
        let reads = artworks * pieces + 3.0 * documents;
        let parts = first_parts + copies + 1.0;
        let uploaded =
            first_parts + segments * float(PartSizes::default().count(whole(of_one)).into());
        // Beside the parts: create, complete, posts and manifest of each segment.
        let writes = uploaded + copies + 4.0 * documents;
        let busy_s = first_s + segments * one_s + finish_s;
        let dollars = busy_s * MEMORY_BYTES / GIB * GIB_SECOND
            + reads * READ
            + writes * WRITE
            + (segments + 3.0) * TRANSITION;
        Calculated { segments, first_s, one_s, finish_s, total_s, parts, dollars }
    }

    /// Returns the limits: name, what the export needs, and the limit.
    fn limits(self) -> Vec<(String, f64, f64)> {
        let it = self.calculate();
        let mut limits = vec![
            ("parts of the upload".to_owned(), it.parts, float(MAX_PARTS.into())),
            ("bytes of the object".to_owned(), self.bytes, MAX_OBJECT),
            (
                "events of the execution".to_owned(),
                EVENTS_OF_SEGMENT * it.segments + 12.0,
                MAX_EVENTS,
            ),
            // The input numbers the segments; the result of the map is an empty object of each.
            ("bytes of the input".to_owned(), 200.0 + 5.0 * it.segments, MAX_PAYLOAD),
            ("seconds of a segment".to_owned(), it.one_s, MAX_INVOCATION_S),
            ("seconds of `finish_export`".to_owned(), it.finish_s, MAX_INVOCATION_S),
            ("seconds of the execution".to_owned(), it.total_s - it.first_s, MAX_EXECUTION_S),
        ];
        limits.extend(MEMORY.map(|(name, bytes)| {
            (format!("bytes of memory, {name}"), BASE_BYTES + self.artworks * bytes, MEMORY_BYTES)
        }));
        limits
    }
}

const SEGMENT: f64 = GIB;
const W6: Export = Export {
    name: "W6: 3,000 × 5 MiB",
    artworks: 3_000.0,
    bytes: 3_000.0 * 5.0 * MIB,
    segment_bytes: SEGMENT,
    workers: 40.0,
};
const W7: Export = Export { name: "W7: 100,000 × 2 MB", artworks: 100_000.0, bytes: 200e9, ..W6 };
const TIB_OF_1_MIB: Export =
    Export { name: "1 TiB: 1,048,576 × 1 MiB", artworks: 1_048_576.0, bytes: TIB, ..W6 };
const TIB_OF_TEN_MILLION: Export =
    Export { name: "1 TiB: 10,000,000 × 110 kB", artworks: 1e7, bytes: TIB, ..W6 };

fn duration(seconds: f64) -> String {
    let seconds = whole(seconds);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// Returns the table of time and price.
fn times() -> String {
    let small = Export { name: "W6, segments of 64 MiB", segment_bytes: 64.0 * MIB, ..W6 };
    let of = |export: Export, workers| Export { workers, ..export };
    let exports = [
        of(W6, 2.0),
        of(W6, 8.0),
        of(W6, 32.0),
        W6,
        small,
        of(W7, 2.0),
        of(W7, 8.0),
        of(W7, 32.0),
        TIB_OF_1_MIB,
        TIB_OF_TEN_MILLION,
    ];
    let mut table = "| export | segments | workers | first attempt | a segment | `finish_export` | total | dollars |\n\
                     |---|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for export in exports {
        let it = export.calculate();
        let times = [it.first_s, it.one_s, it.finish_s, it.total_s].map(duration);
        let [first, segment, finish, total] = times;
        writeln!(
            table,
            "| {} | {} | {} | {first} | {segment} | {finish} | {total} | {:.2} |",
            export.name, it.segments, export.workers, it.dollars
        )
        .unwrap();
    }
    table
}

/// Returns the table of the limits of the two largest exports.
fn limits() -> String {
    let mut table = format!(
        "| limit | {} | {} | at most |\n|---|---:|---:|---:|\n",
        TIB_OF_1_MIB.name, TIB_OF_TEN_MILLION.name
    );
    let all = TIB_OF_1_MIB.limits().into_iter().zip(TIB_OF_TEN_MILLION.limits());
    for ((name, few, limit), (_, many, _)) in all {
        let share = |needed: f64| format!("{:.1} %", needed / limit * 100.0);
        let (few, many, limit) = (share(few), share(many), grouped(limit));
        writeln!(table, "| {name} | {few} | {many} | {limit} |").unwrap();
    }
    table
}

/// Returns a whole number with commas.
fn grouped(number: f64) -> String {
    let digits = whole(number).to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Returns the table of the largest requests by memory.
fn artworks() -> String {
    let mut table = "| memory MB | artworks, first attempt | artworks, `finish_export` |\n\
                     |---:|---:|---:|\n"
        .to_owned();
    for memory in [512.0, 1_024.0, 2_048.0, 4_096.0, 10_240.0] {
        let artworks = MEMORY.map(|(_, bytes)| {
            let artworks = (memory * MIB - BASE_BYTES) / bytes;
            grouped((artworks / 10_000.0).floor() * 10_000.0)
        });
        let [first, finish] = artworks;
        writeln!(table, "| {} | {first} | {finish} |", grouped(memory)).unwrap();
    }
    table
}

#[test]
fn the_tables_of_large_exports_are_those_of_the_calculation() {
    let root = Workspace::find().unwrap().root().to_owned();
    let page = fs::read_to_string(root.join("docs/performance.md")).unwrap();
    let tables = [times(), limits(), artworks()];
    let lacking: Vec<_> = tables.into_iter().filter(|table| !page.contains(table)).collect();
    assert!(lacking.is_empty(), "docs/performance.md lacks\n{}", lacking.join("\n"));
}

#[test]
fn more_workers_save_time_and_cost_nothing() {
    for export in [W7, TIB_OF_1_MIB] {
        let [few, many] = [2.0, 40.0].map(|workers| Export { workers, ..export }.calculate());
        assert!(many.total_s < few.total_s / 4.0);
        assert!((many.dollars - few.dollars).abs() < 1e-9);
    }
}

#[test]
fn a_tib_fits_every_quota_of_aws() {
    for (name, needed, limit) in TIB_OF_1_MIB.limits() {
        assert!(needed < limit, "{name}: {needed}");
    }
}
