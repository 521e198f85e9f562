//! Artworks on the web: treated as hostile, with bounded time and retries.

use std::time::Duration;

use bdr_tests::web::{self, PIXELS, Visits};
use bdr_tests::{Artwork, Delivery, Scenario, ZipFile, scenario};
use local_stack::remote::RemoteHost;
use serde_json::Value;

/// Processes a request for one artwork of the vault and one at each path of a misbehaving host.
/// Returns the results of the latter.
async fn fetch(
    s: &Scenario,
    visits: &Visits,
    paths: &[&str],
    time_left: Duration,
    retry_base: &str,
    allowed: bool,
) -> Vec<Result<Vec<u8>, String>> {
    let host = RemoteHost::with_routes(web::routes(visits.clone())).unwrap();
    let good = s.artwork(Artwork::default()).await;
    let mut posts = vec![good];
    for path in paths {
        let art_url = Some(Some(host.url(path)));
        posts.push(
            s.artwork(Artwork { title: path, file: None, art_url, ..Artwork::default() }).await,
        );
    }
    let bdr_id = s.request(&posts).await;
    let allow = if allowed { host.authority() } else { "127.0.0.1:1" };
    let variables = [
        ("REMOTE_ALLOW_HOSTS", allow),
        ("MAX_ARTWORK_BYTES", "1000000"),
        ("RETRY_BASE_SECONDS", retry_base),
    ];
    let mut worker = s.worker(&variables).await;
    worker.time_left = time_left;
    assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
    files(&s.archive(bdr_id).await.expect("the good artwork arrives"), paths)
}

/// Returns the files of the artworks with these titles, or the reasons why they are missing.
pub(crate) fn files(zip: &ZipFile, titles: &[&str]) -> Vec<Result<Vec<u8>, String>> {
    let metadata = zip.json("metadata.json");
    let found = |list: &str, title: &str| -> Option<Value> {
        let list = metadata[list].as_array().unwrap();
        list.iter().find(|entry| entry["title"] == title).cloned()
    };
    let file = |title: &&str| match found("artworks", title) {
        Some(entry) => {
            Ok(zip.content(&format!("artworks/{}", entry["filename"].as_str().unwrap())))
        }
        None => {
            Err(found("missing_artworks", title).unwrap()["reason"].as_str().unwrap().to_owned())
        }
    };
    titles.iter().map(file).collect()
}

/// `RETRY_BASE_SECONDS`: a host recovers in half of it. The one lets it recover on a slow machine too, the other
/// gives it up soon.
const PATIENT: &str = "600";
const IMPATIENT: &str = "1";
const PLENTY: Duration = Duration::from_mins(15);
const NOT_DOWNLOADED: &str = "This artwork's file could not be downloaded.";

#[test]
fn transient_failures_are_retried_until_the_artwork_arrives() {
    scenario(async |s| {
        let visits = Visits::default();
        let paths = [
            "/redirect/3/a",
            "/flaky/1/503/a",
            "/flaky/1/429/a",
            "/flaky/1/408/a",
            "/flaky/1/425/a",
            "/cut/1/a",
        ];
        for result in fetch(&s, &visits, &paths, PLENTY, PATIENT, true).await {
            assert_eq!(result.as_deref(), Ok(PIXELS));
        }
        assert_eq!(visits.of("/flaky/1/503/a"), 2);
    });
}

#[test]
fn permanent_failures_are_requested_once_and_reported_missing() {
    scenario(async |s| {
        let visits = Visits::default();
        let cases = [
            ("/status/404/a", "This artwork's file was not found."),
            ("/status/403/a", "This artwork's file was not found."),
            ("/redirect/4/a", NOT_DOWNLOADED),
            ("/encoded/a", NOT_DOWNLOADED),
            ("/endless/a", "This artwork's file is too large."),
            ("/announced/1000001/a", "This artwork's file is too large."),
            ("/redirect-to-loopback/a", "This artwork's file address is not usable."),
        ];
        let paths = cases.map(|(path, _)| path);
        let results = fetch(&s, &visits, &paths, PLENTY, PATIENT, true).await;
        for ((path, reason), result) in cases.iter().zip(results) {
            assert_eq!(result, Err((*reason).to_owned()), "{path}");
            assert_eq!(visits.of(path), 1, "{path}");
        }
    });
}

#[test]
fn a_busy_host_is_given_up_after_its_recovery_time() {
    scenario(async |s| {
        let visits = Visits::default();
        let results = fetch(&s, &visits, &["/status/503/a"], PLENTY, IMPATIENT, true).await;
        assert_eq!(results, [Err(NOT_DOWNLOADED.to_owned())]);
        let tries = visits.of("/status/503/a");
        assert!((2..=4).contains(&tries), "{tries}");
    });
}

#[test]
fn an_artwork_that_breaks_off_is_given_up_after_four_tries() {
    scenario(async |s| {
        let visits = Visits::default();
        let results = fetch(&s, &visits, &["/cut/9/a"], PLENTY, IMPATIENT, true).await;
        assert_eq!(results, [Err(NOT_DOWNLOADED.to_owned())]);
        assert_eq!(visits.of("/cut/9/a"), 4);
    });
}

#[test]
fn an_artwork_that_times_out_is_missing_and_the_rest_arrives() {
    scenario(async |s| {
        // Fetching from the web stops 120 s before the deadline, so before the limit of one try.
        let left = Duration::from_secs(122);
        let results =
            fetch(&s, &Visits::default(), &["/silent/a", "/redirect/0/a"], left, PATIENT, true)
                .await;
        assert_eq!(results[0], Err("This artwork's file could not be downloaded in time.".into()));
        assert_eq!(results[1].as_deref(), Ok(PIXELS));
        // The deadline ends it, not the silence limit of 15 s.
        assert!(
            s.log.text().contains("before the deadline of remote artworks"),
            "{}",
            s.log.text()
        );
    });
}

#[test]
fn a_private_address_is_never_contacted() {
    scenario(async |s| {
        let visits = Visits::default();
        let results = fetch(&s, &visits, &["/redirect/0/a"], PLENTY, PATIENT, false).await;
        assert_eq!(results, [Err("This artwork's file address is not usable.".to_owned())]);
        assert_eq!(visits.of("/redirect/0/a"), 0);
    });
}
