//! The message's visibility timeout: a short lease while an attempt runs, then the retry delay.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::post;
use bdr_tests::{Artwork, Delivery, Scenario, Worker, scenario};
use local_stack::remote::RemoteHost;
use serde_json::Value;
use shared::queue::Queue;
use uuid::Uuid;

/// Gives the worker a queue that records every visibility timeout that the worker sets, in seconds.
fn record_visibility(s: &Scenario, worker: &mut Worker) -> (RemoteHost, Arc<Mutex<Vec<u64>>>) {
    let timeouts = Arc::new(Mutex::new(Vec::new()));
    let writer = Arc::clone(&timeouts);
    let answer = async move |body: String| {
        let body: Value = serde_json::from_str(&body).unwrap();
        writer.lock().unwrap().push(body["VisibilityTimeout"].as_u64().unwrap());
        "{}"
    };
    let host = RemoteHost::with_routes(Router::new().route("/", post(answer))).unwrap();
    let config = aws_sdk_sqs::config::Builder::from(&s.stack.sdk_config())
        .endpoint_url(host.url(""))
        .build();
    let client = aws_sdk_sqs::Client::from_conf(config);
    worker.handler.queue = Queue::new(client, host.url("/queue"));
    (host, timeouts)
}

async fn remote(s: &Scenario, path: &str) -> Uuid {
    let art_url = Some(Some(s.remote.url(&format!("/{path}/{}", s.user_sqid))));
    let post = s.artwork(Artwork { file: None, art_url, ..Artwork::default() }).await;
    s.request(&[post]).await
}

#[test]
fn a_short_attempt_sets_its_lease_once() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        let mut worker = s.worker(&[]).await;
        let (_host, timeouts) = record_visibility(&s, &mut worker);
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(*timeouts.lock().unwrap(), [120]);
    });
}

#[test]
fn the_lease_is_renewed_until_the_retry_delay_replaces_it() {
    scenario(async |s| {
        let bdr_id = remote(&s, "silent").await;
        let allow = ("REMOTE_ALLOW_HOSTS", s.remote.authority());
        let mut worker = s.worker(&[allow, ("LEASE_SECONDS", "3")]).await;
        // Fetching from the web stops 120 s before the deadline, so after 4 s.
        worker.time_left = std::time::Duration::from_secs(124);
        let (_host, timeouts) = record_visibility(&s, &mut worker);
        worker.receive(bdr_id).await;
        let timeouts = timeouts.lock().unwrap().clone();
        let (delay, leases) = timeouts.split_last().unwrap();
        assert!((30..=60).contains(delay), "{timeouts:?}");
        assert!(leases.len() >= 3 && leases.iter().all(|seconds| *seconds == 3), "{timeouts:?}");
    });
}
