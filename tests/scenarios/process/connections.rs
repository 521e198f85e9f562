//! Connections to the vault: opened while the database responds, and closed if no artwork needs them.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::ConnectInfo;
use bdr_tests::raw_server::{RawHost, ok};
use bdr_tests::{Artwork, Delivery, Scenario, Worker, scenario, scenario_apart};
use shared::aws::{Connections, Trust};
use shared::config::Environment;
use shared::vault::Vault;
use tokio::net::TcpListener;

/// Returns a worker whose artworks come from the vault at `url`.
async fn worker(s: &Scenario, url: &str) -> Worker {
    let connections = Connections::new(&Trust::from_environment(&Environment::default()).unwrap());
    let aws = s.aws.to_builder().endpoint_url(url);
    let aws = aws.http_client(connections.http_client()).build();
    let vault = Vault::new(shared::aws::s3(&aws, true), "vault").opening(connections);
    s.worker_with_artworks_in(vault).await
}

/// Inserts artworks at `0.png`, `1.png` and so on.
async fn artworks(s: &Scenario, count: usize) -> Vec<i32> {
    let mut posts = Vec::new();
    for number in 0..count {
        let art_url = Some(Some(format!("/vault/{number}.png")));
        posts.push(s.artwork(Artwork { file: None, art_url, ..Artwork::default() }).await);
    }
    posts
}

#[test]
fn the_first_artworks_find_their_connections_open() {
    scenario_apart(async |s| {
        let host = RawHost::start(|_, answer| answer.write_all(&ok("", b"pixels")));
        let bdr_id = s.request(&artworks(&s, 3).await).await;
        let worker = worker(&s, &host.url("")).await;

        // The function claims the request, and waits for the posts.
        s.database.batch_execute("BEGIN; LOCK TABLE posts IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let opened = async {
            s.wait("a connection for each artwork", async || {
                Ok((host.connections() == 3).then_some(()))
            })
            .await;
            assert_eq!(host.visits.of("/vault/0.png"), 0, "no artwork is known yet");
            s.database.batch_execute("COMMIT").await.unwrap();
        };
        let (delivery, ()) = tokio::join!(worker.receive(bdr_id), opened);
        assert_eq!(delivery, Delivery::Acknowledged);
        assert_eq!(s.row(bdr_id).await["artwork_count"], 3);
        assert_eq!(host.visits.of("/vault/0.png"), 1);
        assert_eq!(host.connections(), 3, "each artwork used one of them");
    });
}

#[test]
fn connections_that_large_artworks_do_not_need_are_closed() {
    scenario(async |s| {
        let clients = Arc::new(Mutex::new(HashSet::new()));
        let used = Arc::clone(&clients);
        let serve = async move |ConnectInfo(client): ConnectInfo<SocketAddr>| {
            used.lock().unwrap().insert(client.port());
            vec![7; 5_000_000]
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(serve);
        let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let (worker, posts) = (worker(&s, &url).await, artworks(&s, 12).await);
        let process = async || {
            let bdr_id = s.request(&posts).await;
            assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
            assert_eq!(s.row(bdr_id).await["status"], "ready");
            std::mem::take(&mut *clients.lock().unwrap())
        };
        let (first, second) = (process().await, process().await);
        assert_eq!(first.len(), 12, "no size was known");
        // Nine have 44 MiB, which may be open at once.
        let kept = first.intersection(&second).count();
        assert!((1..=9).contains(&kept), "{kept} of {first:?} in {second:?}");
    });
}
