//! The database's password comes from a secret and never enters the log.

use bdr_tests::{Artwork, Delivery, scenario};
use serde_json::json;

#[test]
fn the_database_url_can_come_from_a_secret() {
    scenario(async |s| {
        let url = &s.database_url;
        let config: tokio_postgres::Config = url.parse().unwrap();
        let password = std::str::from_utf8(config.get_password().unwrap()).unwrap();
        let rds = json!({
            "engine": "postgres", "host": "127.0.0.1", "port": config.get_ports()[0],
            "username": config.get_user(), "password": password,
            "dbname": config.get_dbname(), "sslmode": "disable",
        });
        for secret in [json!({ "url": url }), rds] {
            let arn = create_secret(&s, &secret.to_string()).await;
            let post = s.artwork(Artwork::default()).await;
            let bdr_id = s.request(&[post]).await;
            let worker = s.worker(&[("DATABASE_URL", ""), ("DATABASE_SECRET_ARN", &arn)]).await;
            assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
            assert_eq!(s.row(bdr_id).await["status"], "ready");
            assert!(!format!("{:?}", s.log.lines()).contains(password));
        }
    });
}

/// Stores a text in Secrets Manager. Returns the secret's ARN.
pub(crate) async fn create_secret(s: &bdr_tests::Scenario, text: &str) -> String {
    let client = aws_sdk_secretsmanager::Client::new(&s.stack.sdk_config());
    let create = client.create_secret().name(bdr_tests::scenario::unique("s"));
    create.secret_string(text).send().await.unwrap().arn.unwrap()
}
