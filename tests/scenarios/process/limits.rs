//! A request that exceeds the operator's limits fails at once and leaves nothing behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use bdr_tests::web::PIXELS;
use bdr_tests::{Artwork, Delivery, Scenario, Worker, scenario};
use local_stack::remote::RemoteHost;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

/// Receives the request once with this limit. Returns whether it failed for good.
async fn fails(s: &Scenario, bdr_id: Uuid, limit: (&str, &str)) -> bool {
    let delivery = s.worker(&[limit]).await.receive(bdr_id).await;
    assert_eq!(delivery, Delivery::Acknowledged, "not retried");
    let row = s.row(bdr_id).await;
    if row["status"] == "ready" {
        return false;
    }
    let message = row["error_message"].as_str().unwrap();
    assert!(message.contains("Please request fewer artworks at once."), "{message}");
    assert_eq!(s.emails().await.len(), 1);
    assert!(s.archive(bdr_id).await.is_none());
    assert_eq!(s.open_uploads().await, 0);
    true
}

#[test]
fn too_many_artworks_fail_at_the_claim() {
    scenario(async |s| {
        let posts = [s.artwork(Artwork::default()).await, s.artwork(Artwork::default()).await];
        let bdr_id = s.request(&posts).await;
        assert!(fails(&s, bdr_id, ("MAX_ARTWORKS", "1")).await);
        let twice = s.request(&[posts[0], posts[1], posts[0]]).await;
        assert!(!fails(&s, twice, ("MAX_ARTWORKS", "2")).await, "duplicates count once");
    });
}

#[test]
fn an_archive_that_grows_too_large_is_aborted() {
    scenario(async |s| {
        // The first artwork starts the upload: a part has 5 MiB.
        let file = vec![7; 6_000_000];
        let mut posts = Vec::new();
        for _ in 0..3 {
            posts.push(s.artwork(Artwork { file: Some(&file), ..Artwork::default() }).await);
        }
        let bdr_id = s.request(&posts).await;
        assert!(fails(&s, bdr_id, ("MAX_ARCHIVE_BYTES", "17999999")).await);
    });
}

/// Time that an attempt of [`slow_worker`] has.
const ATTEMPT: Duration = Duration::from_secs(24);
/// Time in which the vault of [`slow_worker`] serves one artwork, after the one before.
const EACH: Duration = Duration::from_millis(60);

/// Returns a worker without large exports, whose vault serves one artwork at a time, and one of this path only
/// when `is_open`: the others wait for it.
async fn slow_worker(
    s: &Scenario,
    stalled: &'static str,
    is_open: watch::Receiver<bool>,
) -> (Worker, RemoteHost, Arc<AtomicUsize>) {
    let (turn, served) = (Arc::new(Semaphore::new(1)), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&served);
    let serve = async move |Path(path): Path<String>| {
        let mut is_open = is_open.clone();
        let _turn = turn.acquire().await;
        if path == stalled {
            let _ = is_open.wait_for(|is_open| *is_open).await;
        }
        tokio::time::sleep(EACH).await;
        counter.fetch_add(1, Relaxed);
        PIXELS
    };
    let host = RemoteHost::with_routes(Router::new().route("/vault/{*path}", get(serve))).unwrap();
    let mut worker = s.worker_with_artworks_from(&host).await;
    // An attempt stops 20 s before its deadline.
    worker.time_left = ATTEMPT + Duration::from_secs(20);
    (worker, host, served)
}

/// Inserts a request for artworks of the vault of [`slow_worker`], `0.png` and so on.
async fn slow_request(s: &Scenario, artworks: usize) -> Uuid {
    let mut posts = Vec::new();
    for n in 0..artworks {
        let art_url = Some(Some(format!("/vault/{n}.png")));
        posts.push(s.artwork(Artwork { file: None, art_url, ..Artwork::default() }).await);
    }
    s.request(&posts).await
}

#[test]
fn a_request_that_no_attempt_can_end_fails_once_and_early() {
    scenario(async |s| {
        // 72 s of work for attempts of 24 s.
        let bdr_id = slow_request(&s, 1_200).await;
        let (_, is_open) = watch::channel(true);
        let (worker, _host, served) = slow_worker(&s, "", is_open).await;
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged, "not retried");
        assert!(served.load(Relaxed) < 400, "{served:?}");
        let row = s.row(bdr_id).await;
        assert_eq!(row["status"], "failed", "{}", s.log.text());
        let message = row["error_message"].as_str().unwrap();
        assert!(message.contains("Please request fewer artworks at once."), "{message}");
        assert_eq!((s.emails().await.len(), s.open_uploads().await), (1, 0));
    });
}

#[test]
fn a_stalled_artwork_does_not_make_a_request_too_large() {
    scenario(async |s| {
        // 10 s of work, and an early artwork that arrives after 10 s. By this pace the rest would take a minute.
        let bdr_id = slow_request(&s, 160).await;
        let (open, is_open) = watch::channel(false);
        let (worker, _host, _) = slow_worker(&s, "20.png", is_open).await;
        let opening = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            open.send(true).unwrap();
        };
        let (delivery, ()) = tokio::join!(worker.receive(bdr_id), opening);
        assert_eq!(delivery, Delivery::Acknowledged, "{}", s.log.text());
        assert_eq!(s.row(bdr_id).await["status"], "ready", "{}", s.log.text());
        assert_eq!(s.log.outcome()["artworks"], 160);
    });
}
