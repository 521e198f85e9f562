//! The functions' database role from `infra/sql/adapters/`: by each adapter it has the privileges that
//! the functions need and no other.

use std::time::Duration;

use bdr_tests::in_process::{Cleaner, now, presign};
use bdr_tests::{Scenario, Worker, scenario, scenario_apart};
use serde_json::json;
use shared::clock::Clock;
use uuid::Uuid;

use crate::adapters::site::{Schema, Site};
use crate::deploy::deployed_stack::variables;

const ROLE: &str = "makapix_bdr";

/// All privileges of the role: the privilege, with its column unless it covers the whole table, and its
/// object. `mod_hashtags` of a view is optional: the functions do without it.
const GRANTED: &str = "
    SELECT p.privilege_type || ' (' || p.column_name || ')', p.table_schema || '.' || p.table_name
      FROM information_schema.column_privileges AS p
     WHERE p.grantee = 'makapix_bdr'
       AND (p.table_schema, p.column_name) <> ('makapix_bdr', 'mod_hashtags')
 UNION ALL
    SELECT p.privilege_type::text, p.table_schema || '.' || p.table_name
      FROM information_schema.table_privileges AS p WHERE p.grantee = 'makapix_bdr'
 UNION ALL
    SELECT p.privilege_type::text, 'FUNCTION ' || p.routine_schema || '.' || p.routine_name || '()'
      FROM information_schema.routine_privileges AS p WHERE p.grantee = 'makapix_bdr'
     ORDER BY 2, 1";

/// Whether the role has rights beyond these privileges: role attributes, owned tables, memberships,
/// privileges of `PUBLIC`, or `CREATE` on a schema.
const BEYOND: &str = "
    SELECT r.rolsuper OR r.rolcreatedb OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls
           OR EXISTS (SELECT FROM pg_auth_members AS m WHERE m.member = r.oid)
           OR EXISTS (SELECT FROM pg_class AS c WHERE c.relowner = r.oid)
           OR EXISTS (SELECT FROM information_schema.table_privileges AS p
                       WHERE p.grantee = 'PUBLIC' AND p.table_schema IN ('public', 'makapix_bdr'))
           OR EXISTS (SELECT FROM information_schema.routine_privileges AS p
                       WHERE p.grantee = 'PUBLIC' AND p.routine_schema IN ('public', 'makapix_bdr'))
           OR EXISTS (SELECT FROM pg_namespace AS n
                       WHERE n.nspname IN ('public', 'makapix_bdr')
                         AND has_schema_privilege(r.rolname, n.oid, 'CREATE'))
      FROM pg_roles AS r
     WHERE r.rolname = 'makapix_bdr'";

/// Functions in this process that together execute every statement of the product.
struct Functions {
    worker: Worker,
    hurried: Worker,
    cleaner: Cleaner,
    post: i64,
}

impl Functions {
    async fn start(site: &Site) -> Self {
        let mut hurried = site.worker().await;
        // Not enough time for an attempt: the request is released.
        hurried.time_left = Duration::from_secs(19);
        let mut cleaner = Cleaner::new(&site.s, &[("PURGE_AFTER_DAYS", "30")]).await;
        // At this time every ZIP in the vault is old enough to be an orphan.
        cleaner.handler.cleanup.clock = Clock::fixed(now() + Duration::from_hours(25));
        let post = site.artwork("aa", Some(b"pixels")).await;
        Self { worker: site.worker().await, hurried, cleaner, post }
    }

    /// Executes every statement. Returns the log written in the meantime.
    async fn run(&self, site: &Site) -> String {
        let s = &site.s;
        let before = s.log.text().len();
        let request = async |post| site.request(&[post]).await;
        let (ready, failed) = (request(self.post).await, request(i64::from(i32::MAX)).await);
        // The second delivery finds the request closed, and the mark of an e-mail.
        let mark = json!({"token": "2026-01-01T00:00:00Z", "user_id": site.artist, "message": ""});
        for bdr_id in [ready, ready, failed] {
            deliver(&self.worker, bdr_id).await;
            s.put(&format!("bdr/{ready}.email-due"), mark.to_string().as_bytes()).await;
        }
        deliver(&self.hurried, request(self.post).await).await;
        let payload = json!({"bdr_id": ready, "user_id": site.artist});
        let _ = presign(s, &[], payload).await;
        s.set(ready, "status = 'ready', expires_at = now() - interval '1 second'").await;
        let _ = self.cleaner.run(json!({})).await;
        for erased in [json!({"bdr_id": failed}), json!({"user_sqid": s.user_sqid})] {
            let _ = self.cleaner.run(json!({"erase": erased})).await;
        }
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
    scenario_apart(async |s| privileges(&Site::create(s, Schema::Specification).await).await);
}

#[test]
fn the_role_has_exactly_these_privileges_on_the_schema_of_2026() {
    scenario_apart(async |s| privileges(&Site::create(s, Schema::Makapix2026).await).await);
}

#[test]
fn the_role_has_exactly_these_privileges_on_a_photo_gallery() {
    scenario_apart(async |s| privileges(&Site::create(s, Schema::PhotoGallery).await).await);
}

async fn privileges(site: &Site) {
    let s = &site.s;
    let functions = Functions::start(site).await;
    let log = functions.run(site).await;
    assert!(!log.contains("permission denied"), "{log}");
    for result in ["ready", "skipped", "failed", "retried", "ok", "success"] {
        assert!(log.contains(&format!(r#""result":"{result}""#)), "no outcome {result}: {log}");
    }

    let granted = s.database.query(GRANTED, &[]).await.unwrap();
    assert!(granted.len() > 40, "{}", granted.len());
    for row in granted {
        let (privilege, object): (&str, &str) = (row.get(0), row.get(1));
        let change = async |sql: String| s.database.batch_execute(&sql).await.unwrap();
        change(format!("REVOKE {privilege} ON {object} FROM {ROLE}")).await;
        let log = functions.run(site).await;
        let name = object.rsplit('.').next().unwrap().trim_end_matches("()");
        let kinds = ["table", "view", "function"];
        let is_denied = |kind| log.contains(&format!("permission denied for {kind} {name}"));
        assert!(kinds.into_iter().any(is_denied), "no function needs {privilege} ON {object}");
        change(format!("GRANT {privilege} ON {object} TO {ROLE}")).await;
    }
    if site.schema != Schema::Specification {
        s.database
            .batch_execute("REVOKE USAGE ON SCHEMA makapix_bdr FROM makapix_bdr")
            .await
            .unwrap();
        let log = functions.run(site).await;
        assert!(log.contains("to correct it, apply infra/sql/adapters/"), "{log}");
    }
    assert!(!s.database.query_one(BEYOND, &[]).await.unwrap().get::<_, bool>(0));
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
