//! Every archive is byte for byte the one that a writer without plan and parts makes, whatever goes wrong
//! on the way; or there is no archive.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod store;

use std::ops::Range;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::io::Cursor;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use store::{Memory, Trouble};
use time::OffsetDateTime;
use time::macros::datetime;
use zip_to_s3::plan::{
    Item, MAX_PART, MIN_PART, Part, Piece, Plan, Prefer, Prices, Terms, TooManyParts,
};
use zip_to_s3::store::StoreErrorKind;
use zip_to_s3::zip::{Packing, ZipWriter};
use zip_to_s3::{Destination, Entry, Error, Object, Report, Source, archive};

const MIB: u64 = 1024 * 1024;
const MODIFIED: Option<OffsetDateTime> = Some(datetime!(2026-11-29 06:00 UTC));
const COMMENT: &str = "a comment";

fn config(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Config::default() }
}

/// Sizes around the limits of S3, and around what pays.
fn body() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..100_000_u64,
        4 => 4 * MIB..6 * MIB,
        2 => 9 * MIB..11 * MIB,
        2 => 15 * MIB..70 * MIB,
        1 => 4 * 1024 * MIB..11 * 1024 * MIB,
    ]
}

fn item() -> impl Strategy<Value = Item> {
    (60..200_u64, body(), prop::bool::weighted(0.8)).prop_map(|(header, body, can_copy)| Item {
        header,
        body,
        can_copy,
    })
}

fn terms() -> impl Strategy<Value = Terms> {
    let prefer = prop_oneof![Just(Prefer::Price), Just(Prefer::Speed)];
    (prefer, 0..400_u64, 128..10_240_u64, 0.0..1e-3).prop_map(|(prefer, buffers, paid, write)| {
        Terms {
            prefer,
            buffer_memory: buffers * MIB,
            paid_memory: paid * MIB,
            prices: Prices { write, ..Prices::default() },
            ..Terms::default()
        }
    })
}

/// The places of an archive: the header and body of each entry, and the tail.
fn places(plan: &Plan) -> Vec<(usize, usize, Range<u64>)> {
    let of_piece = |piece: &Piece| match piece {
        Piece::Header { entry, range } => (*entry, 0, range.clone()),
        Piece::Body { entry, range } => (*entry, 1, range.clone()),
        Piece::Tail { range } => (usize::MAX, 2, range.clone()),
    };
    let of_part = |part: &Part| match part {
        Part::Copy { entry, range } => vec![(*entry, 1, range.clone())],
        Part::Send(pieces) => pieces.iter().map(of_piece).collect(),
    };
    plan.parts.iter().flat_map(of_part).collect()
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn every_part_is_legal_and_the_parts_are_the_archive(
        items in prop::collection::vec(item(), 0..60),
        tail in 22..9 * MIB,
        terms in terms(),
    ) {
        let plan = match Plan::new(&items, tail, &terms) {
            Ok(plan) => plan,
            Err(TooManyParts { needed }) => {
                prop_assert!(needed > 10_000);
                return Ok(());
            }
        };
        let (last, others) = plan.parts.split_last().unwrap();
        prop_assert!(plan.parts.len() <= 10_000);
        for part in others {
            prop_assert!((MIN_PART..=MAX_PART).contains(&part.size()), "{part:?}");
        }
        prop_assert!(matches!(last, Part::Send(_)) && last.size() <= MAX_PART);
        for part in &plan.parts {
            match part {
                Part::Copy { entry, .. } => {
                    prop_assert!(items[*entry].can_copy && terms.may_copy);
                }
                Part::Send(_) => prop_assert!(part.size() <= plan.part_size),
            }
        }
        let buffers = terms.buffer_memory.max(20 * MIB);
        prop_assert!(plan.buffers >= 2 && plan.buffers as u64 * plan.part_size <= buffers);

        let mut expected = Vec::new();
        for (entry, item) in items.iter().enumerate() {
            expected.extend([(entry, 0, 0..item.header), (entry, 1, 0..item.body)]);
        }
        expected.push((usize::MAX, 2, 0..tail));
        expected.retain(|(_, _, range)| !range.is_empty());
        let mut found: Vec<(usize, usize, Range<u64>)> = Vec::new();
        for (entry, kind, range) in places(&plan) {
            match found.last_mut() {
                Some((last_entry, last_kind, last))
                    if (*last_entry, *last_kind, last.end) == (entry, kind, range.start) =>
                {
                    last.end = range.end;
                }
                _ => found.push((entry, kind, range)),
            }
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn copies_are_chosen_as_by_exhaustive_search(
        items in prop::collection::vec(item(), 0..9),
        terms in terms(),
    ) {
        // For speed, what is saved are the bytes that are not sent: requests cost nearly nothing.
        let terms = Terms {
            prefer: Prefer::Speed,
            may_copy: true,
            requests_per_second: 1e12,
            ..terms
        };
        let plan = Plan::new(&items, 100, &terms).unwrap();
        let mut best = 0;
        for choice in 0..1_u32 << items.len() {
            let (mut copied, mut run, mut is_legal) = (0, 0, true);
            for (entry, item) in items.iter().enumerate() {
                run += item.header;
                if choice >> entry & 1 == 0 {
                    run += item.body;
                    continue;
                }
                let rest = item.body.saturating_sub(MIN_PART.saturating_sub(run));
                is_legal &= item.can_copy && rest >= MIN_PART;
                (copied, run) = (copied + rest, 0);
            }
            best = best.max(if is_legal { copied } else { 0 });
        }
        prop_assert_eq!(plan.copied_bytes(), best);
    }
}

/// An entry of a test.
#[derive(Debug, Clone)]
struct Case {
    size: usize,
    is_object: bool,
    has_crc32: bool,
}

impl Case {
    fn object(size: u64) -> Self {
        Self { size: usize::try_from(size).unwrap(), is_object: true, has_crc32: true }
    }

    fn bytes(&self, number: usize) -> Bytes {
        let mut bytes = vec![0; self.size];
        fastrand::Rng::with_seed(number as u64).fill(&mut bytes);
        bytes.into()
    }
}

fn case() -> impl Strategy<Value = Case> {
    let size = prop_oneof![
        3 => 0..50_000_usize,
        3 => 4_800_000..5_700_000_usize,
        2 => 10_000_000..11_000_000_usize,
        1 => 20_000_000..33_000_000_usize,
    ];
    let (object, crc32) = (prop::bool::weighted(0.85), prop::bool::weighted(0.8));
    (size, object, crc32).prop_map(|(size, is_object, has_crc32)| {
        let size = if is_object { size } else { size % 1_000_000 };
        Case { size, is_object, has_crc32 }
    })
}

fn name(number: usize) -> String {
    format!("folder/entry-{number}.bin")
}

/// Archives the cases, and returns the store with the result.
fn write(cases: &[Case], terms: &Terms, trouble: Trouble) -> (Memory, Result<Report, Error>) {
    let memory = Memory::default();
    let entries = cases.iter().enumerate().map(|(number, case)| {
        let (name, bytes, size) = (name(number), case.bytes(number), case.size as u64);
        let source = if case.is_object {
            memory.add(&name, bytes, case.has_crc32);
            Source::Object(Object { key: name.clone(), size, e_tag: None })
        } else {
            Source::Bytes(bytes)
        };
        Entry { name, modified: MODIFIED, source }
    });
    let entries = entries.collect();
    memory.state().trouble = trouble;
    let to = Destination { key: "zip".into(), comment: COMMENT.into(), replace: false };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let written = runtime.block_on(archive(&memory, &to, entries, terms));
    (memory, written)
}

/// Returns the archive without plan and parts.
fn streamed(cases: &[Case]) -> Vec<u8> {
    let writing = async {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (number, case) in cases.iter().enumerate() {
            let bytes = case.bytes(number);
            zip.add(&name(number), MODIFIED, Packing::Store, &bytes).await.unwrap();
        }
        zip.set_comment(COMMENT.to_owned());
        zip.close().await.unwrap().into_inner()
    };
    writing.now_or_never().unwrap()
}

fn check(cases: &[Case], terms: &Terms, trouble: Trouble) -> Report {
    let (memory, written) = write(cases, terms, trouble);
    let written = written.unwrap();
    let found = memory.object("zip").unwrap();
    assert!(found == streamed(cases), "{cases:?}");
    assert_eq!(written.size, found.len() as u64);
    assert_eq!(written.sent_bytes + written.copied_bytes, written.size);
    written
}

fn speed() -> Terms {
    Terms { prefer: Prefer::Speed, ..Terms::default() }
}

proptest! {
    #![proptest_config(config(20))]

    #[test]
    fn an_archive_is_the_streamed_one_whatever_goes_wrong(
        cases in prop::collection::vec(case(), 0..7),
        prefer in prop_oneof![Just(Prefer::Price), Just(Prefer::Speed)],
        buffers in 0..64_u64,
        break_after in prop::option::of(0..3_000_000_usize),
        throttle_every in prop::option::of(3..20_usize),
        refuse_copies in any::<bool>(),
    ) {
        let terms = Terms { prefer, buffer_memory: buffers * MIB, ..Terms::default() };
        check(&cases, &terms, Trouble { break_after, throttle_every, refuse_copies, ..Trouble::default() });
    }
}

#[test]
fn large_objects_are_copied_and_small_ones_need_no_head() {
    let cases = [Case::object(100_000), Case::object(60 * MIB), Case::object(30 * MIB)];
    let report = check(&cases, &Terms::default(), Trouble::default());
    assert_eq!((report.requests.copy, report.requests.head), (2, 2));
    // Each header comes at the end of a part of 5 MiB.
    assert!(report.copied_bytes > 79 * MIB && report.copied_bytes < 81 * MIB);

    let small = vec![Case::object(5 * MIB); 9];
    let report = check(&small, &Terms::default(), Trouble::default());
    assert_eq!((report.requests.copy, report.requests.head), (0, 0));
    assert_eq!(report.requests.get, 9, "one GET an object");
}

#[test]
fn an_object_without_a_crc32_is_read_twice_only_if_no_buffers_could_hold_it() {
    let case = |size| vec![Case { has_crc32: false, ..Case::object(size) }];
    let terms = Terms { buffer_memory: 20 * MIB, ..speed() };
    let bytes = |size| check(&case(size), &terms, Trouble::default()).requests.get * 8 * MIB;
    assert_eq!(bytes(16 * MIB), 16 * MIB);
    assert_eq!(bytes(64 * MIB), 2 * 64 * MIB);
}

#[test]
fn an_object_that_changes_leaves_no_archive() {
    // The only object's first GET breaks off, and the second one finds another version.
    let changes = Some(name(0));
    let trouble = Trouble { break_after: Some(1_000_000), changes, ..Trouble::default() };
    let (memory, written) = write(&[Case::object(4 * MIB)], &speed(), trouble);
    assert!(matches!(&written, Err(Error::Changed { key }) if *key == name(0)), "{written:?}");
    assert_eq!(memory.object("zip"), None);
}

#[test]
fn a_flipped_bit_is_refused() {
    // On the way to S3, and on the way from S3.
    let cases = vec![Case::object(7 * MIB); 5];
    let flip = Trouble { flip_parts: true, ..Trouble::default() };
    let (memory, written) = write(&cases, &speed(), flip);
    assert!(
        matches!(written, Err(Error::Store { error, .. }) if error.kind == StoreErrorKind::Refused)
    );
    assert_eq!(memory.object("zip"), None);
    for size in [7 * MIB, 20 * MIB] {
        let flip = Trouble { flip_bodies: true, ..Trouble::default() };
        let terms =
            Terms { prices: Prices { write: 1.0, ..Prices::default() }, ..Terms::default() };
        let (memory, written) = write(&vec![Case::object(size); 5], &terms, flip);
        assert!(matches!(written, Err(Error::Checksum { .. })));
        assert_eq!(memory.object("zip"), None);
    }
}

#[test]
fn an_existing_object_is_replaced_on_request_only() {
    let memory = Memory::default();
    memory.add("zip", Bytes::from_static(b"old"), true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let write = |replace| {
        let to = Destination { key: "zip".into(), comment: String::new(), replace };
        let written = runtime.block_on(archive(&memory, &to, Vec::new(), &Terms::default()));
        (written, memory.object("zip").unwrap())
    };
    let (written, found) = write(false);
    assert!(matches!(written, Err(Error::Conflict(_))) && found == "old");
    let (written, found) = write(true);
    assert!(written.is_ok() && found.len() == 22);
}
