//! Trouble that passes leaves no artwork out, and trouble of one host delays nothing else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, RETRY_AFTER, USER_AGENT};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bdr_tests::proxy::{HttpProxy, Script};
use bdr_tests::web::PIXELS;
use bdr_tests::{Artwork, Delivery, Scenario, Worker, ZipFile, scenario};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use futures_util::stream::{self, StreamExt as _};
use local_stack::remote::RemoteHost;
use process_bdr_job::artwork::Fetcher;
use process_bdr_job::memory::{MIB, Memory};
use process_bdr_job::remote::{Limits, Remote, Web};
use serde_json::{Value, json};
use shared::aws::Trust;
use shared::config::Environment;
use shared::vault::Vault;
use tokio::sync::Semaphore;
use uuid::Uuid;

const SLOW_DOWN: &str = "<Error><Code>SlowDown</Code></Error>";

/// A server that counts its requests, with the response of the test's choice.
struct Server {
    host: RemoteHost,
    state: Arc<ServerState>,
}

struct ServerState {
    begun: Mutex<Option<Instant>>,
    requests: AtomicUsize,
    headers: Mutex<HeaderMap>,
    respond: Box<Respond>,
}

/// Responds to the path, at this time after the first request.
type Respond = dyn Fn(&str, Duration) -> BoxFuture<'static, Response> + Send + Sync;

impl Server {
    fn start(respond: impl Fn(&str, Duration) -> Response + Send + Sync + 'static) -> Self {
        Self::start_slow(move |path, elapsed| ready(respond(path, elapsed)).boxed())
    }

    fn start_slow(
        respond: impl Fn(&str, Duration) -> BoxFuture<'static, Response> + Send + Sync + 'static,
    ) -> Self {
        let state = Arc::new(ServerState {
            begun: Mutex::default(),
            requests: AtomicUsize::new(0),
            headers: Mutex::default(),
            respond: Box::new(respond),
        });
        let serve = async |State(state): State<Arc<ServerState>>,
                           Path(path): Path<String>,
                           headers: HeaderMap| {
            state.requests.fetch_add(1, Ordering::SeqCst);
            *state.headers.lock().unwrap() = headers;
            let begun = *state.begun.lock().unwrap().get_or_insert_with(Instant::now);
            (state.respond)(&path, begun.elapsed()).await
        };
        let routes = Router::new().route("/{*path}", get(serve)).with_state(Arc::clone(&state));
        Self { host: RemoteHost::with_routes(routes).unwrap(), state }
    }

    fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }
}

/// A worker whose artworks come from `vault`, and from the web hosts among `hosts`.
async fn worker(s: &Scenario, vault: &Server, hosts: &[&str], recovery: Duration) -> Worker {
    worker_with(s, vault, hosts, Limits { recovery, ..Limits::default() }).await
}

/// As [`worker`], with these limits of remote requests.
async fn worker_with(s: &Scenario, vault: &Server, hosts: &[&str], limits: Limits) -> Worker {
    let mut worker = s.worker(&[]).await;
    let trust = Trust::from_environment(&Environment::default()).unwrap();
    let aws = s.stack.sdk_config().into_builder().endpoint_url(vault.host.url(""));
    let aws = aws
        .http_client(shared::aws::http_client(&trust))
        .timeout_config(shared::aws::time_limits())
        .build();
    let allow_hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    worker.handler.job.archiver.fetcher = Fetcher::new(
        Vault::new(shared::aws::s3(&aws, true), "vault"),
        Arc::new(Remote::new(Web { limits, ..Web::default() }, allow_hosts)),
        Memory::plan(512 * MIB, 64 * MIB),
    );
    worker
}

async fn artworks_at(s: &Scenario, urls: impl IntoIterator<Item = String>) -> Vec<i32> {
    let mut posts = Vec::new();
    for url in urls {
        let artwork = Artwork {
            title: &url,
            file: None,
            art_url: Some(Some(url.clone())),
            ..Artwork::default()
        };
        posts.push(s.artwork(artwork).await);
    }
    posts
}

fn in_vault(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("/vault/{number}.png"))
}

/// Processes a request for these posts; returns its ZIP and its outcome line.
async fn process(s: &Scenario, worker: &Worker, posts: &[i32]) -> (ZipFile, Value) {
    let bdr_id: Uuid = s.request(posts).await;
    assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged, "{}", s.log.outcome());
    (s.archive(bdr_id).await.expect("an archive"), s.log.outcome())
}

fn missing_codes(zip: &ZipFile) -> HashMap<String, String> {
    let metadata = zip.json("metadata.json");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let missing = metadata["missing_artworks"].as_array().unwrap();
    missing.iter().map(|entry| (text(&entry["title"]), text(&entry["code"]))).collect()
}

fn pixels(_: &str, _: Duration) -> Response {
    PIXELS.into_response()
}

#[test]
fn a_throttling_vault_is_waited_for() {
    scenario(async |s| {
        let vault = Server::start(|_, elapsed| match elapsed.as_millis() {
            ..700 => (StatusCode::SERVICE_UNAVAILABLE, SLOW_DOWN).into_response(),
            _ => PIXELS.into_response(),
        });
        let posts = artworks_at(&s, in_vault(300)).await;
        let worker = worker(&s, &vault, &[], Duration::ZERO).await;
        let (_, outcome) = process(&s, &worker, &posts).await;
        assert_eq!((&outcome["artworks"], &outcome["missing"]), (&json!(300), &json!(0)));
        assert!(outcome["vault_trouble_ms"].as_u64().unwrap() >= 500, "{outcome}");
        assert!(vault.requests() <= 750, "2.5 per artwork at most: {}", vault.requests());
    });
}

#[test]
fn a_vault_that_fails_now_and_then_is_waited_for() {
    scenario(async |s| {
        let count = AtomicUsize::new(0);
        let vault = Server::start(move |_, _| {
            if count.fetch_add(1, Ordering::SeqCst) % 10 < 3 {
                return (StatusCode::INTERNAL_SERVER_ERROR, "").into_response();
            }
            PIXELS.into_response()
        });
        let posts = artworks_at(&s, in_vault(220)).await;
        let worker = worker(&s, &vault, &[], Duration::ZERO).await;
        let (_, outcome) = process(&s, &worker, &posts).await;
        assert_eq!((&outcome["artworks"], &outcome["missing"]), (&json!(220), &json!(0)));
        assert!(vault.requests() <= 550, "2.5 per artwork at most: {}", vault.requests());
    });
}

#[test]
fn a_vault_that_serves_one_artwork_at_a_time_is_waited_for() {
    scenario(async |s| {
        let turn = Arc::new(Semaphore::new(1));
        // 220 take 55 s, and the first 128 requests longer than the client's limit of 30 s.
        let vault = Server::start_slow(move |_, _| {
            let turn = Arc::clone(&turn);
            let respond = async move {
                let _turn = turn.acquire().await.unwrap();
                tokio::time::sleep(Duration::from_millis(250)).await;
                PIXELS.into_response()
            };
            respond.boxed()
        });
        let posts = artworks_at(&s, in_vault(220)).await;
        let worker = worker(&s, &vault, &[], Duration::ZERO).await;
        let (_, outcome) = process(&s, &worker, &posts).await;
        assert_eq!((&outcome["artworks"], &outcome["missing"]), (&json!(220), &json!(0)));
        assert!(vault.requests() <= 550, "2.5 per artwork at most: {}", vault.requests());
    });
}

#[test]
fn an_archived_artwork_is_missing_in_words_of_its_own() {
    scenario(async |s| {
        let vault = Server::start(|path, elapsed| match path {
            "vault/0.png" => {
                let code = "<Error><Code>InvalidObjectState</Code></Error>";
                (StatusCode::FORBIDDEN, code).into_response()
            }
            path => pixels(path, elapsed),
        });
        let posts = artworks_at(&s, in_vault(2)).await;
        let worker = worker(&s, &vault, &[], Duration::ZERO).await;
        let (zip, _) = process(&s, &worker, &posts).await;
        assert_eq!(missing_codes(&zip), [("/vault/0.png".into(), "archived".into())].into());
        assert_eq!(vault.requests(), 2, "it is requested once");
        assert!(!s.log.text().contains("check the function's policy"));
    });
}

#[test]
fn a_wrong_clock_fails_the_attempt_and_is_named() {
    scenario(async |s| {
        let skewed = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
        let vault = Server::start(move |_, _| (StatusCode::FORBIDDEN, skewed).into_response());
        let posts = artworks_at(&s, in_vault(2)).await;
        let worker = worker(&s, &vault, &[], Duration::ZERO).await;
        let bdr_id = s.request(&posts).await;
        assert_eq!(worker.receive(bdr_id).await, Delivery::BackLater);
        let outcome = s.log.outcome();
        assert_eq!(outcome["result"], "retried");
        assert!(
            outcome["error"].to_string().contains("the function's clock is wrong"),
            "{outcome}"
        );
    });
}

#[test]
fn denied_artworks_do_not_flood_the_log() {
    scenario(async |s| {
        let denied = "<Error><Code>AccessDenied</Code></Error>";
        let vault = Server::start(move |path, elapsed| match path {
            "vault/0.png" => pixels(path, elapsed),
            _ => (StatusCode::FORBIDDEN, denied).into_response(),
        });
        let posts = artworks_at(&s, in_vault(101)).await;
        let worker = worker(&s, &vault, &[], Duration::ZERO).await;
        process(&s, &worker, &posts).await;
        let lines = s.log.lines();
        let missing: Vec<_> = lines.iter().filter(|line| line["level"] == "WARN").collect();
        assert_eq!(missing.len(), 21, "20 artworks, and one line for the other 80");
        assert_eq!(missing[20]["artworks"], 80);
        assert_eq!(lines.iter().filter(|line| line["level"] == "ERROR").count(), 1);
    });
}

#[test]
fn a_host_that_limits_rates_for_long_is_given_up_at_once() {
    scenario(async |s| {
        let vault = Server::start(pixels);
        let host = Server::start(|_, _| {
            (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "3600")]).into_response()
        });
        let urls = (0..24).map(|number| host.host.url(&format!("/{number}.png")));
        let posts = artworks_at(&s, urls.chain(in_vault(50))).await;
        let authority = host.host.authority();
        let worker = worker(&s, &vault, &[authority], Duration::from_secs(30)).await;
        let (_, outcome) = process(&s, &worker, &posts).await;
        assert_eq!((&outcome["artworks"], &outcome["missing"]), (&json!(50), &json!(24)));
        assert!(host.requests() <= 8, "those that ran together: {}", host.requests());
    });
}

#[test]
fn the_vault_does_not_wait_behind_a_host() {
    scenario(async |s| {
        let vault = Arc::new(Server::start(pixels));
        // The host responds only once all artworks of the vault were requested.
        let seen = Arc::clone(&vault);
        let wait = async move || {
            let deadline = Instant::now() + Duration::from_secs(20);
            while seen.requests() < 50 && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if seen.requests() < 50 {
                StatusCode::NOT_FOUND.into_response()
            } else {
                PIXELS.into_response()
            }
        };
        let routes = Router::new().route("/{*path}", get(wait));
        let host = RemoteHost::with_routes(routes).unwrap();
        let urls = (0..200).map(|number| host.url(&format!("/{number}.png")));
        let posts = artworks_at(&s, urls.chain(in_vault(50))).await;
        let worker = worker(&s, &vault, &[host.authority()], Duration::from_secs(30)).await;
        let (zip, outcome) = process(&s, &worker, &posts).await;
        assert_eq!((&outcome["artworks"], &outcome["missing"]), (&json!(250), &json!(0)));
        let metadata = zip.json("metadata.json");
        let titles = metadata["artworks"].as_array().unwrap().iter();
        let first = titles.map(|entry| entry["title"].as_str().unwrap().to_owned()).next();
        assert_eq!(first, Some(host.url("/0.png")), "metadata.json keeps the order of the request");
    });
}

/// The requests for artworks of the vault and of one web host, while another web host is in trouble.
#[derive(Clone)]
struct Others {
    vault: Arc<Server>,
    host: Arc<Server>,
}

impl Others {
    /// Artworks of each.
    const COUNT: usize = 30;

    fn are_requested(&self) -> bool {
        self.vault.requests() >= Self::COUNT && self.host.requests() >= Self::COUNT
    }

    /// Responds for the host in trouble: with the file if no other artwork waits behind it.
    fn respond(&self) -> Response {
        if self.are_requested() {
            PIXELS.into_response()
        } else {
            StatusCode::NOT_FOUND.into_response()
        }
    }
}

/// Checks that nothing waits behind a web host that responds like this, and that its artworks arrive
/// too. Returns the number of its requests.
async fn nothing_waits_behind(s: &Scenario, respond: impl FnOnce(Others) -> Box<Respond>) -> usize {
    let others =
        Others { vault: Arc::new(Server::start(pixels)), host: Arc::new(Server::start(pixels)) };
    let slow = Server::start_slow(respond(others.clone()));
    // Under another name, because hosts are told apart by name.
    let slow_host = slow.host.authority().replace("127.0.0.1", "localhost");
    let hosts = [&*slow_host, others.host.host.authority()];
    let on_web = hosts
        .map(|host| (0..Others::COUNT).map(move |number| format!("http://{host}/{number}.png")));
    let urls = on_web.into_iter().flatten().chain(in_vault(Others::COUNT));
    let posts = artworks_at(s, urls).await;
    let limits = Limits { silence: Duration::from_secs(2), ..Limits::default() };
    let worker = worker_with(s, &others.vault, &hosts, limits).await;
    let (zip, _) = process(s, &worker, &posts).await;
    assert_eq!(missing_codes(&zip), HashMap::new());
    slow.requests()
}

#[test]
fn nothing_waits_behind_a_host_that_sleeps() {
    scenario(async |s| {
        let sleep = |others: Others| -> Box<Respond> {
            Box::new(move |_, _| {
                let others = others.clone();
                let respond = async move {
                    let deadline = Instant::now() + Duration::from_secs(20);
                    while !others.are_requested() && Instant::now() < deadline {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    others.respond()
                };
                respond.boxed()
            })
        };
        nothing_waits_behind(&s, sleep).await;
    });
}

#[test]
fn nothing_waits_behind_a_host_that_limits_rates() {
    scenario(async |s| {
        let limit = |others: Others| -> Box<Respond> {
            Box::new(move |_, elapsed| {
                let limited = (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "4")]);
                let is_over = elapsed >= Duration::from_secs(4);
                ready(if is_over { others.respond() } else { limited.into_response() }).boxed()
            })
        };
        let requests = nothing_waits_behind(&s, limit).await;
        let limited = requests - Others::COUNT;
        assert!(limited <= 4, "those that ran together, and none within the pause: {limited}");
    });
}

#[test]
fn nothing_waits_behind_a_host_that_stalls_within_a_body() {
    scenario(async |s| {
        let stall = |others: Others| -> Box<Respond> {
            let half = || Ok::<_, std::io::Error>(Bytes::from_static(&PIXELS[..PIXELS.len() / 2]));
            let body = move || Body::from_stream(stream::iter([half()]).chain(stream::pending()));
            let stalled = move || ([(CONTENT_LENGTH, PIXELS.len())], body()).into_response();
            Box::new(move |_, elapsed| {
                let is_over = elapsed >= Duration::from_secs(1);
                ready(if is_over { others.respond() } else { stalled() }).boxed()
            })
        };
        nothing_waits_behind(&s, stall).await;
    });
}

#[test]
fn a_host_gets_time_to_recover() {
    scenario(async |s| {
        let vault = Server::start(pixels);
        let host = Server::start(|_, elapsed| match elapsed.as_millis() {
            ..1_500 => StatusCode::BAD_GATEWAY.into_response(),
            _ => PIXELS.into_response(),
        });
        let urls = (0..40).map(|number| host.host.url(&format!("/{number}.png")));
        let posts = artworks_at(&s, urls.chain(in_vault(10))).await;
        let authority = host.host.authority();
        let worker = worker(&s, &vault, &[authority], Duration::from_secs(10)).await;
        let (_, outcome) = process(&s, &worker, &posts).await;
        assert_eq!((&outcome["artworks"], &outcome["missing"]), (&json!(50), &json!(0)));
        assert!(host.requests() <= 100, "2.5 per artwork at most: {}", host.requests());
    });
}

#[test]
fn web_connections_survive_a_freeze() {
    scenario(async |s| {
        let vault = Server::start(pixels);
        let host = Server::start(pixels);
        let nothing = Arc::new(Script::new(Vec::new()));
        let proxy =
            HttpProxy::start(nothing, s.stack.endpoint(), &host.host.url("")).await.unwrap();
        let urls: Vec<_> = (0..40).map(|number| proxy.web_url(&format!("/{number}.png"))).collect();
        let posts = artworks_at(&s, urls).await;
        // Without time to recover: a dead connection would cost its artwork.
        let worker = worker(&s, &vault, &[&proxy.authority()], Duration::ZERO).await;
        process(&s, &worker, &posts).await;
        proxy.go_silent();
        let (_, outcome) = process(&s, &worker, &posts).await;
        assert_eq!((&outcome["artworks"], &outcome["missing"]), (&json!(40), &json!(0)));
    });
}

#[test]
fn only_compressed_bodies_are_rejected() {
    scenario(async |s| {
        let vault = Server::start(pixels);
        let host = Server::start(|path, _| {
            ([(CONTENT_ENCODING, path.trim_end_matches(".png"))], PIXELS).into_response()
        });
        let codings = ["UTF-8", "none", "binary", "identity", "gzip", "BR", "x-gzip"];
        let urls = codings.map(|coding| host.host.url(&format!("/{coding}.png")));
        let posts = artworks_at(&s, urls.clone()).await;
        let authority = host.host.authority();
        let worker = worker(&s, &vault, &[authority], Duration::ZERO).await;
        let (zip, _) = process(&s, &worker, &posts).await;
        let missing = urls[4..].iter().map(|url| (url.clone(), "download_failed".to_owned()));
        assert_eq!(missing_codes(&zip), missing.collect());
    });
}

#[test]
fn hosts_learn_who_asks_and_where_to_complain() {
    scenario(async |s| {
        let host = Server::start(pixels);
        let posts = artworks_at(&s, [host.host.url("/a.png")]).await;
        let allow = ("REMOTE_ALLOW_HOSTS", host.host.authority());
        let worker = s.worker(&[allow, ("BASE_URL", "https://pixels.example.org")]).await;
        process(&s, &worker, &posts).await;
        let headers = host.state.headers.lock().unwrap().clone();
        let expected = concat!(
            "makapix-bdr/",
            env!("CARGO_PKG_VERSION"),
            " (bot; +https://pixels.example.org)"
        );
        assert_eq!(headers[USER_AGENT], expected);
    });
}
