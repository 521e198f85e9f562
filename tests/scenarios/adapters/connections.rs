//! The connection limit of the functions' role, a variable of psql.

use bdr_tests::scenario;
use bdr_tests::scenario::unique;

use crate::adapters::site::{Schema, Site};

/// The limits of a role and its clone, if that exists.
const LIMITS: &str = "SELECT r.rolconnlimit FROM pg_roles AS r
                       WHERE r.rolname IN ($1::text, $1 || '_clone') ORDER BY r.rolname";

#[test]
fn each_adapter_sets_the_limit_that_psql_is_given() {
    for schema in Schema::ALL {
        scenario(async |s| {
            let site = Site::without_adapter(s, schema).await;
            let role = unique("r");
            // Roles belong to the cluster: other scenarios connect as the functions' role.
            let path = format!("{}/../infra/sql/adapters", env!("CARGO_MANIFEST_DIR"));
            let adapter = std::fs::read_to_string(format!("{path}/{}", schema.adapter())).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("adapter.sql");
            std::fs::write(&file, adapter.replace("makapix_bdr", &role)).unwrap();
            let apply = async |variables: &[&str]| {
                let mut psql = tokio::process::Command::new(site.s.stack.psql_command());
                psql.args(["-X", "-q"]).args(variables).arg("-f").arg(&file).arg(&site.owner_url);
                let output = psql.output().await.unwrap();
                let rows = site.s.database.query(LIMITS, &[&role]).await.unwrap();
                let limits: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
                assert_eq!(limits.len(), if schema == Schema::Specification { 1 } else { 2 });
                assert!(limits.iter().all(|limit| *limit == limits[0]), "{limits:?}");
                (output.status.success(), limits[0])
            };
            assert_eq!(apply(&[]).await, (true, -1), "{schema:?}: a new role has no limit");
            assert_eq!(apply(&["-v", "connection_limit=7"]).await, (true, 7));
            assert_eq!(apply(&[]).await, (true, 7), "without the variable, the limit stays");
            assert_eq!(apply(&["-v", "connection_limit=many"]).await, (false, 7));
            assert_eq!(apply(&["-v", "connection_limit=-1"]).await, (true, -1));
        });
    }
}
