//! `doctor`: the connection limit of the functions' role.

use bdr_tests::scenario;
use bdr_tests::scenario::unique;

use super::doctor::{examine, of_level};
use crate::deploy::deployed_stack::{deploy, package};

#[test]
fn a_role_without_a_sufficient_connection_limit_is_found() {
    scenario(async |s| {
        let folder = tempfile::tempdir().unwrap();
        let template = folder.path().join("template.json");
        package(&s, &template).await;
        let (stack, role) = (unique("connections-"), unique("r"));
        s.database.batch_execute(&format!("CREATE ROLE {role} LOGIN")).await.unwrap();
        let database = format!("DatabaseUrl=postgresql://{role}:password@127.0.0.1/none");
        deploy(&s, &stack, &template, &[&database, "MaximumConcurrency=2"]).await;

        let admin = s.admin_database_url();
        let found = async || {
            let (findings, _) = examine(&s, &["--stack", &stack, "--database-url", &admin]).await;
            let is_ours = |level| {
                let found = of_level(&findings, level).into_iter();
                found.filter(|it| it.starts_with("connections: ")).collect::<Vec<_>>()
            };
            (is_ours("warning"), is_ours("ok"))
        };
        let limit = async |limit: i32| {
            let alter = format!("ALTER ROLE {role} CONNECTION LIMIT {limit}");
            s.database.batch_execute(&alter).await.unwrap();
            found().await
        };
        let (warnings, _) = found().await;
        assert!(
            warnings[0].contains(&format!("role {role} has no connection limit")),
            "{warnings:?}"
        );
        let (warnings, _) = limit(3).await;
        let expected = format!(
            "connections: role {role} may have 3 connections, the functions need 4: MaximumConcurrency (2), \
             downloads (1) and a cleanup"
        );
        assert_eq!(warnings, [expected]);
        let (warnings, ok) = limit(4).await;
        let expected = format!("connections: role {role} may have 4, the functions need 4");
        assert_eq!((warnings.len(), ok), (0, vec![expected]));

        deploy(&s, &stack, &template, &["PresignConcurrency=10"]).await;
        let (warnings, _) = found().await;
        assert!(warnings[0].contains("the functions need 13"), "{warnings:?}");
        s.database.batch_execute(&format!("DROP ROLE {role}")).await.unwrap();
    });
}
