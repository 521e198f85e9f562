//! A password that a rotation by Secrets Manager changes while a function runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use bdr_tests::scenario::unique;
use bdr_tests::{Artwork, Delivery, Scenario, Worker, scenario};
use local_stack::remote::RemoteHost;
use serde_json::{Value, json};
use shared::config::Environment;
use shared::database::{Database, DatabaseSource, SecretReader};
use shared::failure::chain;

use crate::deploy::deployed_stack::aws;
use crate::deploy::secrets::create_secret;

/// A database user with the functions' rights, used by one scenario only, so that its password may
/// change.
struct Login<'a> {
    s: &'a Scenario,
    name: String,
}

impl<'a> Login<'a> {
    async fn create(s: &'a Scenario, password: &str) -> Self {
        let login = Self { s, name: unique("r") };
        let sql = format!("CREATE ROLE {} LOGIN IN ROLE makapix_bdr", login.name);
        s.database.batch_execute(&sql).await.unwrap();
        login.change_password(password).await;
        login
    }

    /// Changes the password, as the rotation's second step does. Open connections stay open.
    async fn change_password(&self, password: &str) {
        self.s.secrets.add(password);
        let sql = format!("ALTER ROLE {} PASSWORD '{password}'", self.name);
        self.s.database.batch_execute(&sql).await.unwrap();
    }

    /// Ends all open connections, so that the next statement has to log in.
    async fn disconnect(&self) {
        let sql = "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a
                    WHERE a.usename = $1";
        let ended = self.s.database.query(sql, &[&self.name]).await.unwrap();
        assert!(!ended.is_empty(), "the function was connected");
    }

    /// Returns the secret's text in the format that RDS writes.
    fn secret(&self, password: &str) -> String {
        let config: tokio_postgres::Config = self.s.database_url.parse().unwrap();
        json!({
            "host": "127.0.0.1", "port": config.get_ports()[0], "dbname": config.get_dbname(),
            "username": self.name, "password": password, "sslmode": "disable",
        })
        .to_string()
    }
}

/// Makes the function produce one more ZIP in a single attempt.
async fn make_zip(s: &Scenario, worker: &Worker) {
    let artwork = s.artwork(Artwork::default()).await;
    let bdr_id = s.request(&[artwork]).await;
    assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
    assert_eq!(s.row(bdr_id).await["status"], "ready");
}

#[test]
fn no_rotation_step_makes_an_attempt_fail() {
    scenario(async |s| {
        let login = Login::create(&s, "the first password").await;
        let arn = create_secret(&s, &login.secret("the first password")).await;
        let worker = s.worker(&[("DATABASE_URL", ""), ("DATABASE_SECRET_ARN", &arn)]).await;
        make_zip(&s, &worker).await;

        let second = login.secret("the second password");
        let put = ["secretsmanager", "put-secret-value", "--secret-id", &arn, "--secret-string"];
        let pending = [&second, "--version-stages", "AWSPENDING"];
        let version = aws(&s, &[&put[..], &pending].concat()).await["VersionId"].clone();
        make_zip(&s, &worker).await;
        login.change_password("the second password").await;
        make_zip(&s, &worker).await;
        login.disconnect().await;
        make_zip(&s, &worker).await;

        let describe = ["secretsmanager", "describe-secret", "--secret-id", &arn];
        let stages = aws(&s, &describe).await["VersionIdsToStages"].clone();
        let current = |(_, stages): &(&String, &Value)| {
            stages.as_array().unwrap().contains(&json!("AWSCURRENT"))
        };
        let (old, _) = stages.as_object().unwrap().iter().find(current).unwrap();
        let finish = ["secretsmanager", "update-secret-version-stage", "--secret-id", &arn];
        let stage = ["--version-stage", "AWSCURRENT", "--remove-from-version-id", old];
        let new = ["--move-to-version-id", version.as_str().unwrap()];
        aws(&s, &[&finish[..], &stage, &new].concat()).await;
        login.disconnect().await;
        make_zip(&s, &worker).await;
    });
}

/// Starts a Secrets Manager without a pending version that returns these texts in order and then
/// repeats the last one. Returns it with the stages that were requested.
fn secrets_manager(texts: Vec<String>) -> (RemoteHost, Arc<Mutex<Vec<String>>>) {
    let requested = Arc::<Mutex<Vec<String>>>::default();
    let route = {
        let (requested, mut texts) = (Arc::clone(&requested), VecDeque::from(texts));
        let mut next = move || match texts.len() {
            1 => texts[0].clone(),
            _ => texts.pop_front().unwrap(),
        };
        let respond = move |body: &str| {
            let request: Value = serde_json::from_str(body).unwrap();
            let stage = request["VersionStage"].as_str().unwrap_or("AWSCURRENT").to_owned();
            requested.lock().unwrap().push(stage.clone());
            if stage == "AWSPENDING" {
                let none = json!({"__type": "ResourceNotFoundException", "Message": "none"});
                return (StatusCode::BAD_REQUEST, none.to_string());
            }
            (StatusCode::OK, json!({"Name": "s", "SecretString": next()}).to_string())
        };
        let respond = Arc::new(Mutex::new(respond));
        post(async move |body: String| {
            let mut respond = respond.lock().unwrap();
            respond(&body)
        })
    };
    (RemoteHost::with_routes(Router::new().route("/", route)).unwrap(), requested)
}

/// Returns the database as a function connects to it with a secret of `manager`.
fn database_by_secret(s: &Scenario, manager: &RemoteHost) -> Database {
    let environment = Environment::of([("DATABASE_SECRET_ARN", "arn:aws:secretsmanager:::s")]);
    let source = DatabaseSource::from_environment(&environment).unwrap();
    let aws = s.stack.sdk_config().into_builder().endpoint_url(manager.url("")).build();
    Database::new(source, Some(SecretReader::new(&aws)))
}

#[test]
fn a_rotation_between_reading_the_secret_and_login_succeeds() {
    scenario(async |s| {
        let login = Login::create(&s, "the new password").await;
        let (old, new) = (login.secret("the old password"), login.secret("the new password"));
        let (manager, requested) = secrets_manager(vec![old, new]);
        database_by_secret(&s, &manager).connection().await.unwrap();
        assert_eq!(*requested.lock().unwrap(), ["AWSCURRENT", "AWSPENDING", "AWSCURRENT"]);
    });
}

#[test]
fn a_wrong_password_is_tried_exactly_twice() {
    scenario(async |s| {
        let login = Login::create(&s, "the right password").await;
        let (manager, requested) = secrets_manager(vec![login.secret("the wrong password")]);
        let error = database_by_secret(&s, &manager).connection().await.unwrap_err();
        let text = chain(&error);
        assert!(text.contains("password authentication failed"), "{text}");
        assert!(!text.contains("the wrong password"), "{text}");
        assert_eq!(*requested.lock().unwrap(), ["AWSCURRENT", "AWSPENDING", "AWSCURRENT"]);
    });
}
