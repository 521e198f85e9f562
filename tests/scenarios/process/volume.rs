//! The memory of the deployed binary with more comments than it could hold.

use std::fs;
use std::time::Duration;

use bdr_tests::lambda::{Deployed, Function, TestQueue};
use bdr_tests::scenario::unique;
use bdr_tests::{Artwork, scenario_apart};
use local_stack::seed;
use serde_json::json;

/// Number of comments. Their bodies alone have 95 MiB, and the rows of the driver twice as much.
const COMMENTS: usize = 1_000_000;
/// Maximum resident memory, in KiB.
const MAX_PEAK_KIB: u64 = 128 * 1024;

/// Returns the highest resident memory of a process so far, in KiB.
pub(super) fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_million_comments_take_less_than_128_mib() {
    scenario_apart(async |s| {
        let mut posts = Vec::new();
        for _ in 0..10 {
            posts.push(s.artwork(Artwork::default()).await);
        }
        // Index and foreign keys would take most of the time.
        let prepare = "DROP INDEX comments_post_created; ALTER TABLE comments DISABLE TRIGGER ALL";
        s.database.batch_execute(prepare).await.unwrap();
        let insert = "
            INSERT INTO comments (post_id, author_id, body)
            SELECT ($1::integer[])[1 + n % cardinality($1)], $2, lpad(n::text, 100, 'What a picture! ')
              FROM generate_series(1, $3) AS n";
        let comments = i32::try_from(COMMENTS).unwrap();
        s.database.execute(insert, &[&posts, &s.user_id, &comments]).await.unwrap();
        let request = seed::Request {
            user_id: s.user_id,
            post_ids: posts,
            include_comments: true,
            ..seed::Request::default()
        };
        let bdr_id = request.insert(&s.database).await.unwrap();

        let deployed = Deployed::process_bdr_job(s.stack).await.unwrap();
        let visibility = Duration::from_mins(5);
        let queue = TestQueue::create(s.sqs.clone(), &unique("q"), visibility).await.unwrap();
        let changed = [
            ("BDR_QUEUE_URL", queue.url()),
            ("DATABASE_URL", &s.database_url),
            ("VAULT_BUCKET", s.bucket()),
        ];
        let log = s.stack.scratch_directory().join(format!("{bdr_id}.log"));
        let mut function = Function::launch(&[], &deployed, &changed, &log).await.unwrap();
        let message = queue.deliver(bdr_id).await.unwrap();
        let invocation = function.invoke(message.event()).await.unwrap();
        let peak_kib = peak_kib(function.pid());
        assert_eq!(invocation.response, json!({"batchItemFailures": []}));
        assert_eq!(s.row(bdr_id).await["status"], "ready", "{}", function.log_tail());
        function.stop().await.unwrap();

        let zip = s.archive(bdr_id).await.expect("an archive");
        let document = String::from_utf8(zip.content("comments.json")).unwrap();
        assert_eq!(document.matches("\"body\": ").count(), COMMENTS);
        assert!(peak_kib < MAX_PEAK_KIB, "{peak_kib} KiB");
    });
}
