//! The functions' database role from `infra/sql/adapters/specification.sql`: it has the privileges that the functions
//! need and no other.

use std::time::Duration;

use bdr_tests::in_process::{Cleaner, now, presign};
use bdr_tests::{Artwork, Scenario, Worker, scenario, scenario_apart};
use local_stack::seed;
use serde_json::json;
use shared::clock::Clock;
use uuid::Uuid;

use crate::deploy::deployed_stack::variables;

const ROLE: &str = "makapix_bdr";

/// All privileges of the role: the privilege, with its column unless it covers the whole table, and
/// the table.
const GRANTED: &str = "
    SELECT p.privilege_type || ' (' || p.column_name || ')', p.table_name::text
      FROM information_schema.column_privileges AS p WHERE p.grantee = 'makapix_bdr'
 UNION ALL
    SELECT p.privilege_type::text, p.table_name::text
      FROM information_schema.table_privileges AS p WHERE p.grantee = 'makapix_bdr'
     ORDER BY 2, 1";

/// Whether the role has rights beyond the privileges on tables: role attributes, owned tables,
/// memberships, privileges of `PUBLIC`, or `CREATE` on the schema.
const BEYOND: &str = "
    SELECT r.rolsuper OR r.rolcreatedb OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls
           OR EXISTS (SELECT FROM pg_auth_members AS m WHERE m.member = r.oid)
           OR EXISTS (SELECT FROM pg_class AS c WHERE c.relowner = r.oid)
           OR EXISTS (SELECT FROM information_schema.table_privileges AS p
                       WHERE p.grantee = 'PUBLIC' AND p.table_schema = 'public')
           OR has_schema_privilege(r.rolname, 'public', 'CREATE')
      FROM pg_roles AS r
     WHERE r.rolname = 'makapix_bdr'";

/// Functions in this process that together execute every statement of the product.
struct Functions {
    worker: Worker,
    hurried: Worker,
    cleaner: Cleaner,
    post: i32,
}

impl Functions {
    async fn start(s: &Scenario) -> Self {
        let mut hurried = s.worker(&[]).await;
        // Not enough time for an attempt: the request is released.
        hurried.time_left = Duration::from_secs(19);
        let mut cleaner = Cleaner::new(s, &[("PURGE_AFTER_DAYS", "30")]).await;
        // At this time every ZIP in the vault is old enough to be an orphan.
        cleaner.handler.cleanup.clock = Clock::fixed(now() + Duration::from_hours(25));
        let post = s.artwork(Artwork::default()).await;
        Self { worker: s.worker(&[]).await, hurried, cleaner, post }
    }

    /// Executes every statement. Returns the log written in the meantime.
    async fn run(&self, s: &Scenario) -> String {
        let before = s.log.text().len();
        let request = async |post| {
            let request = seed::Request {
                user_id: s.user_id,
                post_ids: vec![post],
                include_comments: true,
                include_reactions: true,
                send_email: false,
            };
            request.insert(&s.database).await.unwrap()
        };
        let (ready, failed) = (request(self.post).await, request(i32::MAX).await);
        // The second delivery finds the request closed.
        for bdr_id in [ready, ready, failed] {
            deliver(&self.worker, bdr_id).await;
        }
        deliver(&self.hurried, request(self.post).await).await;
        let payload = json!({"bdr_id": ready, "user_id": s.user_id});
        let _ = presign(s, &[], payload).await;
        s.set(ready, "status = 'ready', expires_at = now() - interval '1 second'").await;
        let _ = self.cleaner.run(json!({})).await;
        s.log.text().split_off(before)
    }
}

/// Delivers a message that is in no queue, so that none is left there.
async fn deliver(worker: &Worker, bdr_id: Uuid) {
    let record = json!({
        "messageId": bdr_id, "receiptHandle": "none", "body": Scenario::message(bdr_id),
        "attributes": {"ApproximateReceiveCount": "1"},
    });
    worker.invoke(json!({"Records": [record]})).await;
}

#[test]
fn the_role_has_exactly_the_privileges_the_functions_use() {
    scenario_apart(async |s| {
        let functions = Functions::start(&s).await;
        let log = functions.run(&s).await;
        assert!(!log.contains("permission denied"), "{log}");
        for result in ["ready", "skipped", "failed", "retried", "ok", "success"] {
            assert!(log.contains(&format!(r#""result":"{result}""#)), "no outcome {result}: {log}");
        }

        let granted = s.database.query(GRANTED, &[]).await.unwrap();
        assert!(granted.len() > 40, "{}", granted.len());
        for row in granted {
            let (privilege, table): (&str, &str) = (row.get(0), row.get(1));
            let change = async |sql: String| s.database.batch_execute(&sql).await.unwrap();
            change(format!("REVOKE {privilege} ON {table} FROM {ROLE}")).await;
            let log = functions.run(&s).await;
            let denied = format!("permission denied for table {table}");
            assert!(log.contains(&denied), "no function needs {privilege} ON {table}");
            change(format!("GRANT {privilege} ON {table} TO {ROLE}")).await;
        }
        assert!(!s.database.query_one(BEYOND, &[]).await.unwrap().get::<_, bool>(0));
    });
}

#[test]
fn the_functions_log_in_as_the_role() {
    scenario(async |s| {
        let mut urls = vec![s.database_url.clone()];
        for function in ["ProcessBdrJob", "CleanupExpiredBdrs", "PresignBdrDownload"] {
            let name = &s.stack.outputs()[&format!("{function}FunctionName")];
            urls.push(variables(&s, name).await["DATABASE_URL"].clone());
        }
        for url in urls {
            let config: tokio_postgres::Config = url.parse().unwrap();
            assert_eq!(config.get_user(), Some(ROLE));
        }
    });
}
