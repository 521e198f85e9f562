//! Transient failures are retried, permanent ones are not.

use std::sync::Arc;

use aws_sdk_s3::config::interceptors::BeforeSerializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use bdr_tests::proxy::{DatabaseWire, HttpProxy};
use bdr_tests::{Artwork, Delivery, Scenario, scenario, scenario_apart};
use local_stack::remote::RemoteHost;
use local_stack::seed;
use serde_json::{Value, json};
use shared::aws::Trust;
use shared::config::Environment;
use shared::vault::Vault;
use uuid::Uuid;

/// Inserts a request for one artwork whose host returns 503 and one whose file is missing.
pub(crate) async fn request_unavailable_artworks(s: &Scenario) -> Uuid {
    let url = s.remote.url(&format!("/status/503/{}", s.user_sqid));
    let busy = Artwork { file: None, art_url: Some(Some(url)), ..Artwork::default() };
    let gone = Artwork { file: None, ..Artwork::default() };
    let posts = [s.artwork(gone).await, s.artwork(busy).await];
    s.request(&posts).await
}

#[test]
fn a_transiently_failed_request_is_released_and_its_message_delayed() {
    scenario(async |s| {
        let bdr_id = request_unavailable_artworks(&s).await;
        let worker = s
            .worker(&[("REMOTE_ALLOW_HOSTS", s.remote.authority()), ("RETRY_BASE_SECONDS", "4")])
            .await;
        for receive_count in 1..=3 {
            let delivery = worker.receive_again(&Scenario::message(bdr_id), receive_count).await;
            assert_eq!(delivery, Delivery::BackLater);
            let row = s.row(bdr_id).await;
            assert_eq!((&row["status"], &row["error_message"]), (&json!("pending"), &Value::Null));
            assert_ne!(row["started_at"], Value::Null, "the row keeps its age");
            assert_eq!(s.log.outcome()["result"], "retried");
            worker.drain().await;
        }
    });
}

#[test]
fn the_last_receive_fails_the_request_and_returns_the_message() {
    scenario(async |s| {
        let bdr_id = request_unavailable_artworks(&s).await;
        let worker = s
            .worker(&[("REMOTE_ALLOW_HOSTS", s.remote.authority()), ("RETRY_BASE_SECONDS", "4")])
            .await;
        let delivery = worker.receive_again(&Scenario::message(bdr_id), 4).await;
        assert_eq!(delivery, Delivery::BackNow);
        let row = s.row(bdr_id).await;
        assert_eq!(row["status"], "failed");
        let message = row["error_message"].as_str().unwrap();
        assert!(message.starts_with("Something went wrong on our side"), "{message}");
    });
}

#[test]
fn an_unreachable_database_costs_one_receive_only() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        let nowhere = "postgresql://nobody@127.0.0.1:1/none";
        let worker = s.worker(&[("DATABASE_URL", nowhere)]).await;
        assert_eq!(worker.receive(bdr_id).await, Delivery::BackLater);
        assert_eq!(s.log.outcome()["result"], "unclaimed");
        assert_eq!(s.row(bdr_id).await["status"], "pending");
    });
}

#[test]
fn a_database_connection_lost_between_invocations_is_replaced() {
    scenario_apart(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let (first, second) = (s.request(&[post]).await, s.request(&[post]).await);
        let worker = s.worker(&[]).await;
        assert_eq!(worker.receive(first).await, Delivery::Acknowledged);
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE usename = 'makapix_bdr' AND state = 'idle'
                       AND datname = current_database()";
        s.database.batch_execute(kill).await.unwrap();
        assert_eq!(worker.receive(second).await, Delivery::Acknowledged);
        assert_eq!(s.row(second).await["status"], "ready");
    });
}

#[test]
fn a_database_connection_silent_after_a_freeze_is_replaced() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let (first, second) = (s.request(&[post]).await, s.request(&[post]).await);
        let wire = DatabaseWire::start(Arc::default(), &s.database_url).await.unwrap();
        let worker = s.worker(&[("DATABASE_URL", wire.url())]).await;
        assert_eq!(worker.receive(first).await, Delivery::Acknowledged);
        wire.go_silent();
        assert_eq!(worker.receive(second).await, Delivery::Acknowledged);
        assert_eq!(s.row(second).await["status"], "ready");
    });
}

/// An interceptor that panics before every request of an AWS client.
#[derive(Debug)]
pub(crate) struct Panics;

impl Intercept for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        _: &mut ConfigBag,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        panic!("a defect")
    }
}

#[test]
fn a_panic_fails_the_attempt_and_not_the_invocation() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        let mut worker = s.worker(&[]).await;
        let s3 = aws_sdk_s3::config::Builder::from(&s.stack.sdk_config()).interceptor(Panics);
        worker.handler.job.archiver.vault =
            Vault::new(aws_sdk_s3::Client::from_conf(s3.build()), s.bucket());
        assert_eq!(worker.receive(bdr_id).await, Delivery::BackLater);
        assert_eq!(s.row(bdr_id).await["status"], "pending");
        let outcome = s.log.outcome();
        assert_eq!(outcome["result"], "retried");
        assert!(outcome["error"].to_string().contains("panicked"), "{outcome}");
    });
}

#[test]
fn aws_connections_silent_after_a_freeze_are_replaced() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let (first, second) = (s.request(&[post]).await, s.request(&[post]).await);
        let proxy = HttpProxy::start(Arc::default(), s.stack.endpoint(), "").await.unwrap();
        let trust = Trust::from_environment(&Environment::default()).unwrap();
        let aws = proxy.sdk_config(s.stack).into_builder();
        let aws = aws
            .http_client(shared::aws::http_client(&trust))
            .timeout_config(shared::aws::time_limits())
            .build();
        let worker = s.worker_through(&aws, &[]).await;
        assert_eq!(worker.receive(first).await, Delivery::Acknowledged);
        proxy.go_silent();
        assert_eq!(worker.receive(second).await, Delivery::Acknowledged);
        assert_eq!(s.row(second).await["status"], "ready");
        assert_eq!(s.emails().await.len(), 2);
    });
}

#[test]
fn an_artwork_denied_by_the_vault_is_logged_as_an_error() {
    scenario(async |s| {
        let denied = (StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code></Error>");
        let vault = Router::new()
            .route("/vault/good.png", get(async || "pixels"))
            .route("/vault/denied.png", get(async move || denied));
        let host = RemoteHost::with_routes(vault).unwrap();
        let artwork = async |name: &str| {
            let art_url = Some(Some(format!("/vault/{name}.png")));
            s.artwork(Artwork { file: None, art_url, ..Artwork::default() }).await
        };
        let (good, denied) = (artwork("good").await, artwork("denied").await);
        let worker = s.worker_with_artworks_from(&host).await;

        // Alone in a request it is retried: an operator may have fixed the policy by then.
        let bdr_id = s.request(&[denied]).await;
        assert_eq!(worker.receive(bdr_id).await, Delivery::BackLater);
        assert_eq!(s.row(bdr_id).await["status"], "pending");
        let errors = s.log.lines().into_iter().filter(|line| line["level"] == "ERROR");
        let names_policy =
            |line: &Value| line["message"].to_string().contains("check the function's policy");
        assert_eq!(errors.filter(names_policy).count(), 1);
        worker.drain().await;

        // The other artworks do not wait for that.
        let bdr_id = s.request(&[denied, good]).await;
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(
            (&s.log.outcome()["artworks"], &s.log.outcome()["missing"]),
            (&json!(1), &json!(1))
        );
    });
}

#[test]
fn a_missing_bucket_is_not_a_missing_artwork() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        let worker = s.worker(&[("VAULT_BUCKET", "no-such-bucket-here")]).await;
        assert_eq!(worker.receive(bdr_id).await, Delivery::BackLater);
        assert_eq!(s.row(bdr_id).await["status"], "pending");
    });
}

#[test]
fn an_attempt_stops_itself_before_the_deadline() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        let mut worker = s.worker(&[]).await;
        worker.time_left = std::time::Duration::from_secs(19);
        assert_eq!(worker.receive(bdr_id).await, Delivery::BackLater);
        assert_eq!(s.row(bdr_id).await["status"], "pending");
        assert!(s.archive(bdr_id).await.is_none());
        let error = s.log.outcome()["error"].to_string();
        assert!(error.contains("before the deadline"), "{error}");
    });
}

#[test]
fn a_request_without_email_sends_none() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let request =
            seed::Request { user_id: s.user_id, post_ids: vec![post], ..seed::Request::default() };
        let bdr_id = request.insert(&s.database).await.unwrap();
        assert_eq!(s.worker(&[]).await.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(s.log.outcome()["email"], "not wanted");
        assert!(s.emails().await.is_empty());
    });
}
