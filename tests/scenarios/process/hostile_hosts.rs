//! Hosts that send invalid responses, stall or redirect: each loses only its own artworks, and no
//! forbidden address is contacted.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bdr_tests::raw_server::{RawHost, ok, redirect};
use bdr_tests::web::PIXELS;
use bdr_tests::{Artwork, Delivery, Scenario, Worker, scenario};
use process_bdr_job::artwork::Fetcher;
use process_bdr_job::memory::{MIB, Memory};
use process_bdr_job::remote::{Limits, Remote, Web};
use serde_json::Value;

use super::canary_ports::CanaryPorts;

const NOT_DOWNLOADED: &str = "This artwork's file could not be downloaded.";
const NOT_FOUND: &str = "This artwork's file was not found.";
const NOT_IN_TIME: &str = "This artwork's file could not be downloaded in time.";
const NOT_USABLE: &str = "This artwork's file address is not usable.";
const TOO_LARGE: &str = "This artwork's file is too large.";

/// Fetches artworks at these URLs, placed between two artworks of the vault. Returns, by title, the
/// file or the reason why it is missing.
async fn fetch(
    s: &Scenario,
    worker: &Worker,
    urls: &[(String, String)],
) -> BTreeMap<String, Result<Vec<u8>, String>> {
    let first = s.artwork(Artwork { title: "first", ..Artwork::default() }).await;
    let mut posts = vec![first];
    for (title, url) in urls {
        let art_url = Some(Some(url.clone()));
        posts.push(s.artwork(Artwork { title, file: None, art_url, ..Artwork::default() }).await);
    }
    posts.push(s.artwork(Artwork { title: "last", ..Artwork::default() }).await);
    let bdr_id = s.request(&posts).await;
    assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);

    let zip = s.archive(bdr_id).await.expect("the good artworks arrive");
    let metadata = zip.json("metadata.json");
    let entries = |list: &str| metadata[list].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let there = entries("artworks").into_iter().map(|entry| {
        let name = format!("artworks/{}", text(&entry["filename"]));
        (text(&entry["title"]), Ok(zip.content(&name)))
    });
    let missing = entries("missing_artworks")
        .into_iter()
        .map(|entry| (text(&entry["title"]), Err(text(&entry["reason"]))));
    let mut results: BTreeMap<_, _> = there.chain(missing).collect();
    for vault in ["first", "last"] {
        assert_eq!(results.remove(vault), Some(Ok(b"pixels".to_vec())), "{vault}");
    }
    assert_eq!(results.len(), urls.len());
    results
}

/// Returns a worker that may contact this host and has these time limits.
async fn worker(s: &Scenario, host: &RawHost, limits: Limits) -> Worker {
    let mut worker = s.worker(&[]).await;
    let web = Web { limits, ..Web::default() };
    let remote = Remote::new(web, [host.authority.clone()].into());
    let memory = Memory::plan(512 * MIB, MIB);
    let archiver = &mut worker.handler.job.archiver;
    archiver.fetcher = Fetcher::new(archiver.vault.clone(), Arc::new(remote), memory);
    worker
}

#[test]
fn no_rejected_url_is_fetched_directly_or_by_redirect() {
    scenario(async |s| {
        let table = include_str!("../../../functions/process-bdr-job/fixtures/refused_urls.json");
        let table: BTreeMap<String, Vec<String>> = serde_json::from_str(table).unwrap();
        // PostgreSQL stores no NUL, and a header cannot contain a line break.
        let table: Vec<_> =
            table.into_values().flatten().filter(|url| !url.contains('\0')).collect();
        assert!(table.len() > 200);
        let locations: Vec<_> = table.iter().map(|url| redirect(url.as_bytes())).collect();
        let host = RawHost::start(move |path, stream| match path.strip_prefix("/to/") {
            Some(index) => stream.write_all(&locations[index.parse::<usize>().unwrap()]),
            None => stream.write_all(&ok("", PIXELS)),
        });
        let mut urls = vec![
            ("good".to_owned(), host.url("/good")),
            ("redirected".to_owned(), host.url("/good/2")),
        ];
        for (index, url) in table.iter().enumerate() {
            urls.push((format!("at {url}"), url.clone()));
            if !url.contains(['\r', '\n']) {
                urls.push((format!("to {url}"), host.url(&format!("/to/{index}"))));
            }
        }
        let canaries = CanaryPorts::listen().await;
        println!("ports watched: {:?}", canaries.ports);

        let worker = worker(&s, &host, Limits::default()).await;
        let mut results = fetch(&s, &worker, &urls).await;
        assert_eq!(canaries.connections().await, 0);
        for good in ["good", "redirected"] {
            assert_eq!(results.remove(good), Some(Ok(PIXELS.to_vec())));
        }
        for (title, result) in results {
            assert_eq!(result, Err(NOT_USABLE.to_owned()), "{title}");
        }
        assert_eq!(host.visits.of("/to/0"), 1);
    });
}

/// A host that sends another unusual or invalid response at each path.
fn respond(path: &str, stream: &mut dyn Write) -> io::Result<()> {
    let length = PIXELS.len();
    let then_pixels = |head: &str| [head.as_bytes(), b"\r\n\r\n", PIXELS].concat();
    let chunked = |headers: &str| {
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{headers}\r\n{length:x}\r\n");
        [head.as_bytes(), PIXELS, b"\r\n0\r\n\r\n"].concat()
    };
    let response = match path {
        "/no-length" => then_pixels("HTTP/1.1 200 OK"),
        "/http-1.0" => then_pixels("HTTP/1.0 200 OK"),
        "/more-than-announced" => [ok("", PIXELS), ok("", b"of the next response")].concat(),
        "/less-than-announced" => then_pixels("HTTP/1.1 200 OK\r\ncontent-length: 1000"),
        "/two-lengths" => then_pixels(&format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\ncontent-length: 1"
        )),
        "/length-of-nonsense" => then_pixels("HTTP/1.1 200 OK\r\ncontent-length: -1"),
        "/vast" => then_pixels("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551613"),
        "/chunked" => chunked("transfer-encoding: chunked\r\n"),
        "/chunked-and-length" => chunked("transfer-encoding: chunked\r\ncontent-length: 1\r\n"),
        "/chunk-of-nonsense" => ok("transfer-encoding: chunked\r\n", b"pixels\r\n"),
        "/chunks-cut" => {
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\npixel\r\n".to_vec()
        }
        "/gzip-chunked" => chunked("transfer-encoding: gzip, chunked\r\n"),
        "/gzip-then-chunked" => {
            chunked("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n")
        }
        "/identity-transfer" => then_pixels("HTTP/1.1 200 OK\r\ntransfer-encoding: identity"),
        "/identity" => ok("content-encoding: identity\r\n", PIXELS),
        "/encoded-twice" => ok("content-encoding: identity\r\ncontent-encoding: br\r\n", PIXELS),
        "/100-headers" => ok(&"x: y\r\n".repeat(98), PIXELS),
        "/101-headers" => ok(&"x: y\r\n".repeat(99), PIXELS),
        "/long-header" => ok(&format!("x: {}\r\n", "y".repeat(2_000_000)), PIXELS),
        "/endless-header" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx: ")?;
            return endless(stream, b'y');
        }
        "/endless-body" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            return endless(stream, 0);
        }
        "/early-hints" => {
            ["HTTP/1.1 103 Early Hints\r\n\r\n".repeat(200).as_bytes(), &ok("", PIXELS)].concat()
        }
        "/206" => then_pixels("HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-9/99"),
        "/content-range" => ok("content-range: bytes 0-9/99\r\n", PIXELS),
        "/204" => b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n".to_vec(),
        "/304" => b"HTTP/1.1 304 Not Modified\r\nconnection: close\r\n\r\n".to_vec(),
        "/status-of-nonsense" => then_pixels("HTTP/1.1 999 Whatever"),
        "/http-0.9" => PIXELS.to_vec(),
        "/http-2" => b"\0\0\0\x04\0\0\0\0\0".to_vec(),
        "/nothing" => Vec::new(),
        "/to-itself" => redirect(b"/to-itself"),
        "/to-nowhere" => b"HTTP/1.1 302 Found\r\nconnection: close\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n".to_vec(),
    };
    stream.write_all(&response)
}

/// Writes 16 MiB; the client must close the connection before the end.
fn endless(stream: &mut dyn Write, byte: u8) -> io::Result<()> {
    let block = [byte; 16 * 1024];
    for _ in 0..1024 {
        stream.write_all(&block)?;
    }
    stream.write_all(b"\r\n\r\nthe client took 16 MiB")
}

#[test]
fn a_host_that_lies_loses_only_its_own_artworks() {
    scenario(async |s| {
        let host = RawHost::start(respond);
        let arrives = |path| (path, Ok(()), 1);
        let rejected = |path, reason| (path, Err(reason), 1);
        let retried = |path| (path, Err(NOT_DOWNLOADED), 4);
        let table = [
            arrives("/no-length"),
            arrives("/http-1.0"),
            arrives("/more-than-announced"),
            arrives("/chunked"),
            arrives("/chunked-and-length"),
            arrives("/identity"),
            arrives("/100-headers"),
            arrives("/early-hints"),
            arrives("/content-range"),
            retried("/less-than-announced"),
            retried("/two-lengths"),
            retried("/length-of-nonsense"),
            rejected("/vast", TOO_LARGE),
            retried("/chunk-of-nonsense"),
            retried("/chunks-cut"),
            rejected("/gzip-chunked", NOT_DOWNLOADED),
            rejected("/gzip-then-chunked", NOT_DOWNLOADED),
            rejected("/identity-transfer", NOT_DOWNLOADED),
            rejected("/encoded-twice", NOT_DOWNLOADED),
            retried("/101-headers"),
            retried("/long-header"),
            retried("/endless-header"),
            rejected("/endless-body", TOO_LARGE),
            rejected("/206", NOT_FOUND),
            rejected("/204", NOT_FOUND),
            rejected("/304", NOT_USABLE),
            rejected("/status-of-nonsense", NOT_FOUND),
            retried("/http-0.9"),
            retried("/http-2"),
            retried("/nothing"),
            ("/to-itself", Err(NOT_DOWNLOADED), 4),
            rejected("/to-nowhere", NOT_USABLE),
        ];
        let urls: Vec<_> =
            table.iter().map(|(path, ..)| ((*path).to_owned(), host.url(path))).collect();
        let limits = Limits { recovery: Duration::from_millis(100), ..Limits::default() };
        let worker = worker(&s, &host, limits).await;
        let results = fetch(&s, &worker, &urls).await;
        for (path, expected, visits) in table {
            let expected = expected.map(|()| PIXELS.to_vec()).map_err(str::to_owned);
            assert_eq!(results[path], expected, "{path}");
            assert_eq!(host.visits.of(path), visits, "{path}");
        }
    });
}

#[test]
fn a_host_that_stalls_loses_only_its_own_artworks() {
    scenario(async |s| {
        let drip = |stream: &mut dyn Write, bytes: &mut dyn Iterator<Item = &u8>| {
            for byte in bytes {
                std::thread::sleep(Duration::from_millis(50));
                stream.write_all(&[*byte])?;
            }
            Ok(())
        };
        let slow = ok("", PIXELS);
        let head = slow.len() - PIXELS.len();
        let host = RawHost::start(move |path, stream| match path {
            "/drips-its-head" => drip(stream, &mut slow.iter()),
            "/drips-its-body" => {
                stream.write_all(&slow[..head])?;
                drip(stream, &mut slow[head..].iter().cycle())
            }
            "/early-hints-forever" => loop {
                stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n")?;
                std::thread::sleep(Duration::from_millis(1));
            },
            "/goes-silent" => {
                stream.write_all(&slow[..head])?;
                loop {
                    std::thread::park();
                }
            }
            _ => stream.write_all(&slow),
        });
        let limits = Limits {
            connection: Duration::from_millis(500),
            silence: Duration::from_millis(500),
            one_try: Duration::from_secs(1),
            all_tries: Duration::from_secs(2),
            recovery: Duration::from_secs(1),
        };
        let worker = worker(&s, &host, limits).await;
        let stalls = ["/drips-its-head", "/drips-its-body", "/early-hints-forever", "/goes-silent"];
        for path in stalls {
            let urls = [(path.to_owned(), host.url(path)), ("good".to_owned(), host.url("/good"))];
            let results = fetch(&s, &worker, &urls).await;
            assert_eq!(results[path], Err(NOT_IN_TIME.to_owned()), "{path}");
            assert_eq!(results["good"], Ok(PIXELS.to_vec()), "{path}");
            assert!((2..=4).contains(&host.visits.of(path)), "{path}");
        }
    });
}
