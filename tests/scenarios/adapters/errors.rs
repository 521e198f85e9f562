//! A wrong adapter, a missing view, a dropped or renamed column: the row is released for a later attempt,
//! and one line names the column and the adapter to apply. `doctor` finds the same.

use bdr_tests::{Delivery, scenario};
use uuid::Uuid;

use super::site::{Comment, Schema, Site};
use crate::bdrctl::doctor::{examine, of_level};

/// Processes a request that cannot succeed for now; returns the outcome line.
async fn retried(site: &Site, artwork: i64) -> (Uuid, String) {
    let bdr_id = site.request(&[artwork]).await;
    assert_eq!(site.worker().await.receive(bdr_id).await, Delivery::BackLater);
    let row = site.s.row(bdr_id).await;
    assert_eq!((row["status"].as_str(), row["error_message"].as_str()), (Some("pending"), None));
    (bdr_id, site.s.log.outcome().to_string())
}

/// Asserts that one line names these.
#[track_caller]
fn assert_names(line: &str, names: &[&str]) {
    for name in names {
        assert!(line.contains(name), "{name} is not in {line}");
    }
}

async fn doctor(site: &Site) -> Vec<String> {
    let (findings, succeeded) = examine(&site.s, &["--database-url", &site.owner_url]).await;
    let errors = of_level(&findings, "error");
    assert_eq!(succeeded, errors.is_empty());
    let advised = findings.iter().filter(|finding| finding["level"] == "error");
    errors
        .into_iter()
        .zip(advised)
        .map(|(error, finding)| format!("{error}. {}", finding["advice"]))
        .collect()
}

#[test]
fn doctor_names_the_adapter_in_use() {
    for schema in Schema::ALL {
        scenario(async |s| {
            let site = Site::create(s, schema).await;
            let (findings, succeeded) =
                examine(&site.s, &["--database-url", &site.owner_url]).await;
            assert!(succeeded, "{findings:?}");
            let in_use = format!("database: adapter {} is in use", schema.adapter());
            assert!(of_level(&findings, "ok").contains(&in_use), "{findings:?}");
        });
    }
}

#[test]
fn the_sites_move_to_another_schema_names_the_adapter_to_apply() {
    scenario(async |s| {
        let site = Site::create(s, Schema::Specification).await;
        let artwork = site.artwork("aa", Some(b"pixels")).await;
        let migration = "ALTER TABLE posts DROP COLUMN file_format;
                         CREATE TABLE post_files (post_id integer, format text, is_native boolean)";
        site.s.database.batch_execute(migration).await.unwrap();
        let (_, line) = retried(&site, artwork).await;
        assert_names(
            &line,
            &["column p.file_format does not exist", "apply infra/sql/adapters/makapix-2026.sql"],
        );
        let errors = doctor(&site).await;
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_names(
            &errors[0],
            &["lacks posts.file_format", "apply infra/sql/adapters/makapix-2026.sql"],
        );
    });
}

#[test]
fn a_column_that_the_site_dropped_is_named_and_the_request_recovers() {
    scenario(async |s| {
        let site = Site::create(s, Schema::Makapix2026).await;
        let artwork = site.artwork("aa", Some(b"pixels")).await;
        site.s
            .database
            .batch_execute("ALTER TABLE posts RENAME description TO story")
            .await
            .unwrap();
        let (bdr_id, line) = retried(&site, artwork).await;
        let names =
            ["column p.description does not exist", "apply infra/sql/adapters/makapix-2026.sql"];
        assert_names(&line, &names);
        let errors = doctor(&site).await;
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_names(&errors[0], &names);
        let refused = site.apply("makapix-2026.sql").await.unwrap_err();
        assert_names(
            &refused,
            &["makapix-2026.sql does not fit", "the tables lack posts.description"],
        );

        site.s
            .database
            .batch_execute("ALTER TABLE posts RENAME story TO description")
            .await
            .unwrap();
        assert_eq!(site.worker().await.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(site.s.row(bdr_id).await["status"], "ready");
    });
}

#[test]
fn a_missing_view_is_named_and_reveals_nothing() {
    scenario(async |s| {
        let site = Site::create(s, Schema::Makapix2026).await;
        let artwork = site.artwork("aa", Some(b"pixels")).await;
        site.comment(artwork, "removed", Comment::DeletedByModerator).await;
        site.comment(artwork, "kept", Comment::Visible).await;
        site.s.database.batch_execute("DROP VIEW makapix_bdr.comments").await.unwrap();
        let bdr_id = site.request(&[artwork]).await;
        site.worker().await.receive(bdr_id).await;
        let comments = site.s.archive(bdr_id).await.unwrap().json("comments.json").to_string();
        assert!(comments.contains("kept") && !comments.contains("removed"), "{comments}");
        let errors = doctor(&site).await;
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_names(
            &errors[0],
            &["does not read comments of makapix-2026.sql", "Apply infra/sql/adapters"],
        );

        site.s.database.batch_execute("DROP VIEW makapix_bdr.posts").await.unwrap();
        let (_, line) = retried(&site, artwork).await;
        assert_names(
            &line,
            &["column p.file_format does not exist", "apply infra/sql/adapters/makapix-2026.sql"],
        );
    });
}

#[test]
fn without_an_adapter_the_error_names_the_one_to_apply() {
    scenario(async |s| {
        let site = Site::without_adapter(s, Schema::Specification).await;
        let bdr_id = site.request(&[1]).await;
        site.worker().await.receive(bdr_id).await;
        let line = site.s.log.outcome().to_string();
        assert_names(
            &line,
            &["permission denied for table batch_download_requests", "adapters/specification.sql"],
        );
        assert_eq!(site.s.row(bdr_id).await["status"], "pending");
    });
}

#[test]
fn the_second_role_of_a_rotation_reads_the_same_views() {
    scenario(async |s| {
        let site = Site::create(s, Schema::Makapix2026).await;
        let artwork = site.artwork("aa", Some(b"pixels")).await;
        let admin = site.s.stack.database().await.unwrap();
        let path = "SELECT s.setconfig::text FROM pg_db_role_setting AS s
                     WHERE s.setrole = 'makapix_bdr_clone'::regrole";
        let row = admin.query_one(path, &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), r#"{"search_path=makapix_bdr, public"}"#);
        // Secrets Manager's function sets the password of a role that exists.
        let password = Uuid::new_v4().simple().to_string();
        let set = format!("ALTER ROLE makapix_bdr_clone PASSWORD '{password}'");
        admin.batch_execute(&set).await.unwrap();
        let (_, server) = site.s.database_url.split_once('@').unwrap();
        let url = format!("postgresql://makapix_bdr_clone:{password}@{server}");
        site.s.secrets.add_password(&url);
        let worker = site.s.worker(&[("DATABASE_URL", &url)]).await;
        let bdr_id = site.request(&[artwork]).await;
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(site.s.row(bdr_id).await["status"], "ready");
    });
}
