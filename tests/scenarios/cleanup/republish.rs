//! Requests that have waited for over an hour are published again: with growing pauses by the schedules,
//! and all at once for an operator.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bdr_tests::in_process::Cleaner;
use bdr_tests::{Scenario, scenario_apart};
use serde_json::json;
use shared::request::Republication;
use uuid::Uuid;

/// Inserts requests that are `pending` since `age`, with the same ids in every run of the scenario.
async fn waiting(s: &Scenario, ids: std::ops::Range<i32>, age: &str) {
    let insert = format!(
        "INSERT INTO batch_download_requests (id, user_id, post_ids, artwork_count, created_at)
         SELECT ('8c4f2a00-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, $1, '{{1}}', 1,
                now() - interval '{age}'
           FROM generate_series({}, {}) AS n",
        ids.start,
        ids.end - 1,
    );
    s.database.execute(&insert, &[&s.user_id]).await.unwrap();
}

/// Sets the age of all requests.
async fn age(s: &Scenario, hours: i32) {
    let update = "UPDATE batch_download_requests
                     SET created_at = now() - make_interval(hours => $1) - interval '30 minutes'";
    s.database.execute(update, &[&hours]).await.unwrap();
}

/// Returns the requests that a scheduled run publishes now.
async fn in_turn(cleaner: &Cleaner) -> HashSet<Uuid> {
    let requests = &cleaner.handler.cleanup.requests;
    let found = requests.unpublished(Republication::InTurn).await.unwrap();
    assert!(found.len() <= 1000);
    found.into_iter().map(|publication| publication.bdr_id).collect()
}

#[test]
fn a_waiting_request_has_one_turn_in_each_doubled_span() {
    scenario_apart(async |s| {
        waiting(&s, 0..100, "1 hour").await;
        let cleaner = Cleaner::new(&s, &[]).await;
        let mut turns: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for hours in 0..168 {
            age(&s, hours).await;
            for bdr_id in in_turn(&cleaner).await {
                turns.entry(bdr_id).or_default().push(hours);
            }
        }
        assert_eq!(turns.len(), 100);
        for (bdr_id, turns) in &turns {
            let spans: Vec<_> = turns.iter().map(|hours| hours.ilog2()).collect();
            let expected = [0, 1, 2, 3, 4, 5, 6, 7];
            assert!(spans == expected || spans == expected[..7], "{bdr_id}: {turns:?}");
        }
        // Requests that wait since the same hour have their turns in many hours.
        let hours: BTreeSet<_> = turns.values().map(|turns| turns[5]).collect();
        assert!(hours.len() > 20, "{hours:?}");
    });
}

#[test]
fn more_than_a_page_of_waiting_requests_starves_none() {
    scenario_apart(async |s| {
        waiting(&s, 0..3000, "1 hour").await;
        let cleaner = Cleaner::new(&s, &[]).await;
        let mut published = HashSet::new();
        for hours in 1..=7 {
            age(&s, hours).await;
            published.extend(in_turn(&cleaner).await);
        }
        assert_eq!(published.len(), 3000);

        // The first turn of a new request precedes the second one of many.
        age(&s, 2).await;
        assert_eq!(in_turn(&cleaner).await.len(), 1000, "more than a page has its turn");
        waiting(&s, 3000..3001, "61 minutes").await;
        let new = Uuid::from_u128(0x8c4f_2a00_0000_4000_8000_0000_0000_3000);
        assert!(in_turn(&cleaner).await.contains(&new));
    });
}

#[test]
fn the_task_alone_publishes_every_waiting_request_at_once() {
    scenario_apart(async |s| {
        waiting(&s, 0..40, "5 hours 30 minutes").await;
        let cleaner = Cleaner::new(&s, &[]).await;
        for scheduled in [json!({"only": ["rescue", "republish"]}), json!({})] {
            let report = cleaner.run(scheduled).await.unwrap();
            let republished = report["republished"].as_u64().unwrap();
            assert!((1..30).contains(&republished), "a quarter of 40: {report}");
        }
        let report = cleaner.run(json!({"only": ["republish"]})).await.unwrap();
        assert_eq!(report["republished"], 40);
    });
}

#[test]
fn infinite_times_neither_fail_a_run_nor_have_a_turn() {
    scenario_apart(async |s| {
        waiting(&s, 0..1, "61 minutes").await;
        let insert = "INSERT INTO batch_download_requests
                             (user_id, post_ids, artwork_count, created_at, started_at)
                      SELECT $1, '{1}', 1, t.created_at::timestamptz, t.started_at::timestamptz
                        FROM (VALUES ('-infinity', NULL), ('infinity', NULL), ('-infinity', '-infinity'),
                                     ('2026-01-01', 'infinity')) AS t (created_at, started_at)";
        s.database.execute(insert, &[&s.user_id]).await.unwrap();
        let cleaner = Cleaner::new(&s, &[]).await;
        assert_eq!(in_turn(&cleaner).await.len(), 1);
        let report = cleaner.run(json!({"only": ["rescue", "republish"]})).await.unwrap();
        assert_eq!(
            (&report["rescued"], &report["republished"]),
            (&json!(2), &json!(1)),
            "{report}"
        );
        let report = cleaner.run(json!({"only": ["republish"]})).await.unwrap();
        assert_eq!(
            (&report["rescued"], &report["republished"]),
            (&json!(0), &json!(1)),
            "{report}"
        );
    });
}
