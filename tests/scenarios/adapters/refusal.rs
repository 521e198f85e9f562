//! An adapter refuses tables of another schema, and changes nothing then.

use bdr_tests::scenario;
use serde_json::Value;

use super::site::{Schema, Site};

/// Everything that an adapter may change in a database: schemas, relations, functions, privileges,
/// descriptions, and the settings of roles.
const STATE: &str = "
    SELECT jsonb_build_object(
           'schemas', (SELECT jsonb_agg(jsonb_build_array(n.nspname, n.nspacl::text,
                                                          obj_description(n.oid, 'pg_namespace'))
                                        ORDER BY n.nspname)
                         FROM pg_namespace AS n WHERE n.nspname !~ '^pg_'),
           'relations', (SELECT jsonb_agg(jsonb_build_array(c.oid::regclass::text, c.relacl::text)
                                          ORDER BY c.oid::regclass::text)
                           FROM pg_class AS c
                          WHERE c.relnamespace::regnamespace::text !~ '^(pg_|information_schema)'),
           'columns', (SELECT jsonb_agg(jsonb_build_array(a.attrelid::regclass::text, a.attname,
                                                          a.attacl::text)
                                        ORDER BY a.attrelid::regclass::text, a.attname)
                         FROM pg_attribute AS a WHERE a.attacl IS NOT NULL),
           'functions', (SELECT jsonb_agg(jsonb_build_array(p.oid::regprocedure::text, p.proacl::text)
                                          ORDER BY p.oid::regprocedure::text)
                           FROM pg_proc AS p
                          WHERE p.pronamespace::regnamespace::text !~ '^(pg_|information_schema)')
           )::text";

async fn state(site: &Site) -> Value {
    let row = site.s.database.query_one(STATE, &[]).await.unwrap();
    serde_json::from_str(row.get(0)).unwrap()
}

#[test]
fn an_adapter_refuses_another_schema_and_names_it() {
    for schema in Schema::ALL {
        scenario(async |s| {
            let site = Site::without_adapter(s, schema).await;
            let untouched = state(&site).await;
            for adapter in Schema::ALL.into_iter().filter(|other| *other != schema) {
                let error = site.apply(adapter.adapter()).await.unwrap_err();
                let found = match schema {
                    Schema::Specification => {
                        "posts.file_format exists and post_files does not: this is the schema of \
                         specification.sql; the tables lack "
                    }
                    Schema::Makapix2026 => {
                        "post_files exists and posts.file_format does not: this is the schema of \
                         makapix-2026.sql; the tables lack "
                    }
                    Schema::PhotoGallery => {
                        "this is the schema of neither specification.sql nor makapix-2026.sql; the tables \
                         lack "
                    }
                };
                let expected = format!("ERROR:  {} does not fit: {found}", adapter.adapter());
                assert!(error.contains(&expected), "{error}");
                assert!(error.contains(". Nothing was changed"), "{error}");
                assert_eq!(state(&site).await, untouched);
            }
        });
    }
}

#[test]
fn an_adapter_may_run_again_and_replaces_another() {
    scenario(async |s| {
        let site = Site::create(s, Schema::Makapix2026).await;
        // The first revocation writes the owner's own privileges down.
        site.apply("makapix-2026.sql").await.unwrap();
        let applied = state(&site).await;
        site.apply("makapix-2026.sql").await.unwrap();
        assert_eq!(state(&site).await, applied);

        // The site returns to the tables of the specification.
        let back = "ALTER TABLE posts ADD file_format text; DROP TABLE post_files";
        site.s.database.batch_execute(back).await.unwrap();
        site.apply("specification.sql").await.unwrap();
        let views = "SELECT count(*) FROM pg_class AS c
                      WHERE c.relnamespace = 'makapix_bdr'::regnamespace";
        assert_eq!(site.s.database.query_one(views, &[]).await.unwrap().get::<_, i64>(0), 0);
        site.s.put("back.png", b"pixels").await;
        let post = "INSERT INTO posts (owner_id, title, public_sqid, storage_key, art_url, file_format)
                    VALUES ($1::bigint, 'Back', 'back', gen_random_uuid(), '/api/vault/back.png', 'png')
                    RETURNING id::bigint";
        let artwork = site.s.database.query_one(post, &[&site.artist]).await.unwrap().get(0);
        let bdr_id = site.request(&[artwork]).await;
        site.worker().await.receive(bdr_id).await;
        assert_eq!(site.s.row(bdr_id).await["status"], "ready", "{}", site.s.log.text());
    });
}
