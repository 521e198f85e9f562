//! A password that changes under a running function, as rotations by Secrets Manager change it.

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

/// A name with the functions' rights, whose password may change without harm to others.
struct Login<'a> {
    s: &'a Scenario,
    name: String,
}

impl<'a> Login<'a> {
    async fn create(s: &'a Scenario, password: &str) -> Self {
        let login = Self { s, name: unique("r") };
        let sql = format!("CREATE ROLE {} LOGIN IN ROLE makapix_bdr", login.name);
        s.database.batch_execute(&sql).await.unwrap();
        login.change(password).await;
        login
    }

    /// What the rotation's second step does. Connections that are open stay so.
    async fn change(&self, password: &str) {
        self.s.secrets.add(password);
        let sql = format!("ALTER ROLE {} PASSWORD '{password}'", self.name);
        self.s.database.batch_execute(&sql).await.unwrap();
    }

    /// Ends what is open, so that the next statement has to log in.
    async fn disconnect(&self) {
        let sql = "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a
                    WHERE a.usename = $1";
        let ended = self.s.database.query(sql, &[&self.name]).await.unwrap();
        assert!(!ended.is_empty(), "the function was connected");
    }

    /// The secret's text, in the form that RDS writes.
    fn secret(&self, password: &str) -> String {
        let config: tokio_postgres::Config = self.s.database_url.parse().unwrap();
        json!({
            "host": "127.0.0.1", "port": config.get_ports()[0], "dbname": config.get_dbname(),
            "username": self.name, "password": password, "sslmode": "disable",
        })
        .to_string()
    }
}

/// Has the function make one more ZIP, at the first attempt.
async fn makes_a_zip(s: &Scenario, worker: &Worker) {
    let artwork = s.artwork(Artwork::default()).await;
    let bdr_id = s.request(&[artwork]).await;
    assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
    assert_eq!(s.row(bdr_id).await["status"], "ready");
}

#[test]
fn no_step_of_a_rotation_costs_a_request_an_attempt() {
    scenario(async |s| {
        let login = Login::create(&s, "the first password").await;
        let arn = create_secret(&s, &login.secret("the first password")).await;
        let worker = s.worker(&[("DATABASE_URL", ""), ("DATABASE_SECRET_ARN", &arn)]).await;
        makes_a_zip(&s, &worker).await;

        let second = login.secret("the second password");
        let put = ["secretsmanager", "put-secret-value", "--secret-id", &arn, "--secret-string"];
        let pending = [&second, "--version-stages", "AWSPENDING"];
        let version = aws(&s, &[&put[..], &pending].concat()).await["VersionId"].clone();
        makes_a_zip(&s, &worker).await;
        login.change("the second password").await;
        makes_a_zip(&s, &worker).await;
        login.disconnect().await;
        makes_a_zip(&s, &worker).await;

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
        makes_a_zip(&s, &worker).await;
    });
}

/// A Secrets Manager without a pending version, which answers with these texts one after the other,
/// and with the last for ever; and what it was asked for.
fn secrets_manager(texts: Vec<String>) -> (RemoteHost, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let route = {
        let (asked, mut texts) = (Arc::clone(&asked), VecDeque::from(texts));
        let mut next = move || match texts.len() {
            1 => texts[0].clone(),
            _ => texts.pop_front().unwrap(),
        };
        let answer = move |body: &str| {
            let question: Value = serde_json::from_str(body).unwrap();
            let stage = question["VersionStage"].as_str().unwrap_or("AWSCURRENT").to_owned();
            asked.lock().unwrap().push(stage.clone());
            if stage == "AWSPENDING" {
                let none = json!({"__type": "ResourceNotFoundException", "Message": "none"});
                return (StatusCode::BAD_REQUEST, none.to_string());
            }
            (StatusCode::OK, json!({"Name": "s", "SecretString": next()}).to_string())
        };
        let answer = Arc::new(Mutex::new(answer));
        post(async move |body: String| {
            let mut answer = answer.lock().unwrap();
            answer(&body)
        })
    };
    (RemoteHost::with_routes(Router::new().route("/", route)).unwrap(), asked)
}

/// The database as a function reaches it by a secret that `manager` keeps.
fn by_secret_of(s: &Scenario, manager: &RemoteHost) -> Database {
    let environment = Environment::of([("DATABASE_SECRET_ARN", "arn:aws:secretsmanager:::s")]);
    let source = DatabaseSource::from_environment(&environment).unwrap();
    let aws = s.stack.sdk_config().into_builder().endpoint_url(manager.url("")).build();
    Database::new(source, Some(SecretReader::new(&aws)))
}

#[test]
fn a_rotation_that_ends_between_the_secret_and_the_login_is_noticed() {
    scenario(async |s| {
        let login = Login::create(&s, "the new password").await;
        let (old, new) = (login.secret("the old password"), login.secret("the new password"));
        let (manager, asked) = secrets_manager(vec![old, new]);
        by_secret_of(&s, &manager).connection().await.unwrap();
        assert_eq!(*asked.lock().unwrap(), ["AWSCURRENT", "AWSPENDING", "AWSCURRENT"]);
    });
}

#[test]
fn a_password_that_stays_wrong_is_tried_twice_and_no_more() {
    scenario(async |s| {
        let login = Login::create(&s, "the right password").await;
        let (manager, asked) = secrets_manager(vec![login.secret("the wrong password")]);
        let error = by_secret_of(&s, &manager).connection().await.unwrap_err();
        let told = chain(&error);
        assert!(told.contains("password authentication failed"), "{told}");
        assert!(!told.contains("the wrong password"), "{told}");
        assert_eq!(*asked.lock().unwrap(), ["AWSCURRENT", "AWSPENDING", "AWSCURRENT"]);
    });
}
