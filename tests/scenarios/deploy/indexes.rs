//! The cleanup's statements on a table of realistic size, with and without the recommended indexes
//! of `infra/sql/indexes.sql`.

use bdr_tests::{Scenario, scenario_apart};
use shared::request::{EXPIRED, GIVE_UP, PAGE, PURGE, STUCK, UNPUBLISHED, UNPUBLISHED_IN_TURN};
use time::macros::datetime;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

/// Two years of a busy site with one request every five minutes, nearly all of them closed.
const TWO_YEARS: &str = "
    INSERT INTO batch_download_requests
           (user_id, post_ids, artwork_count, status, file_path, created_at, started_at,
            completed_at, expires_at)
    SELECT $1, array_fill(7, ARRAY[50]), 50, s.status,
           CASE WHEN s.status = 'ready' THEN 'bdr/u/x.zip' END, s.at, s.at + interval '2 s',
           CASE WHEN s.status NOT IN ('pending', 'processing') THEN s.at + interval '10 s' END,
           CASE WHEN s.status IN ('ready', 'expired') THEN s.at + interval '7 days' END
      FROM (SELECT now() - n * interval '5 minutes' AS at,
                   CASE WHEN n <= 20 THEN 'pending' WHEN n <= 25 THEN 'processing'
                        WHEN n % 100 = 0 THEN 'failed' WHEN n <= 2100 THEN 'ready'
                        ELSE 'expired' END AS status
              FROM generate_series(1, 200000) AS n) AS s";

type Parameters<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

async fn plan(s: &Scenario, statement: &str, parameters: Parameters<'_>) -> String {
    let plan = s.database.query_typed(&format!("EXPLAIN {statement}"), parameters).await.unwrap();
    plan.iter().map(|row| row.get(0)).collect::<Vec<&str>>().join("\n")
}

/// Returns the plans of all statements that search for rows, by the name of their task.
async fn plans(s: &Scenario) -> [(&'static str, String); 6] {
    let begin = datetime!(0001-01-01 0:00 UTC);
    let expired: Parameters<'_> =
        &[(&begin, Type::TIMESTAMPTZ), (&Uuid::nil(), Type::UUID), (&PAGE, Type::INT8)];
    let stuck: Parameters<'_> = &[
        (&"processing", Type::TEXT),
        (&6, Type::INT4),
        (&"It took too long.", Type::TEXT),
        (&PAGE, Type::INT8),
        (&None::<Vec<Uuid>>, Type::UUID_ARRAY),
    ];
    let looked_at: Parameters<'_> = &[
        (&"processing", Type::TEXT),
        (&6, Type::INT4),
        (&PAGE, Type::INT8),
        (&Vec::<Uuid>::new(), Type::UUID_ARRAY),
    ];
    let closed: Parameters<'_> = &[(&690, Type::INT4), (&PAGE, Type::INT8)];
    [
        ("expire", plan(s, EXPIRED, expired).await),
        ("rescue", plan(s, GIVE_UP, stuck).await),
        ("rescue of exports", plan(s, STUCK, looked_at).await),
        ("republish alone", plan(s, UNPUBLISHED, &[(&PAGE, Type::INT8)]).await),
        ("republish", plan(s, UNPUBLISHED_IN_TURN, &[(&PAGE, Type::INT8)]).await),
        ("purge", plan(s, PURGE, closed).await),
    ]
}

#[test]
fn with_the_recommended_indexes_the_cleanup_never_scans_the_table() {
    scenario_apart(async |s| {
        let drop = "DROP INDEX batch_download_requests_status_expires";
        s.database.batch_execute(drop).await.unwrap();
        s.database.execute(TWO_YEARS, &[&s.user_id]).await.unwrap();
        s.database.batch_execute("ANALYZE batch_download_requests").await.unwrap();
        for (task, plan) in plans(&s).await {
            assert!(plan.contains("Seq Scan"), "{task} needs no index:\n{plan}");
        }

        // By psql and not by this connection, which sends the file as one message and so as one
        // transaction, where CREATE INDEX CONCURRENTLY is not allowed.
        for _again in 0..2 {
            let output = tokio::process::Command::new(s.stack.psql_command())
                .args(["-X", "-v", "ON_ERROR_STOP=1", "-f", "infra/sql/indexes.sql"])
                .arg(s.admin_database_url())
                .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
                .output()
                .await
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        s.database.batch_execute("ANALYZE batch_download_requests").await.unwrap();
        for (task, plan) in plans(&s).await {
            assert!(!plan.contains("Seq Scan"), "{task}:\n{plan}");
            let index = if task == "purge" { "closed" } else { "status_expires" };
            assert!(plan.contains(&format!("batch_download_requests_{index}")), "{task}:\n{plan}");
        }
    });
}
