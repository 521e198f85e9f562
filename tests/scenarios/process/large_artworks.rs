//! Large artworks of the vault are read in pieces while they are written.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{self, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, RANGE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bdr_tests::{Artwork, Delivery, Scenario, Worker, ZipFile, scenario};
use futures_util::stream::{self, StreamExt as _};
use local_stack::remote::RemoteHost;
use process_bdr_job::memory::MIB;
use shared::aws::Trust;
use shared::config::Environment;
use shared::vault::Vault;
use tempfile::TempDir;
use zip_to_s3::s3::Part;

/// A vault whose artworks are `sizes` bytes long, in the order of their names.
struct LargeVault {
    host: RemoteHost,
    state: Arc<Mutex<Stored>>,
}

#[derive(Default)]
struct Stored {
    files: Vec<Bytes>,
    has_crc32: bool,
    /// The object has another version after this number of requests.
    changes_after: Option<usize>,
    /// Bodies of more than a MiB break off after a MiB.
    breaks_off: bool,
    /// Number of the artwork, and range, of each request.
    requests: Vec<(usize, Option<String>)>,
    /// Distinguishes bits on the wire from those that S3 states.
    flips: bool,
}

impl LargeVault {
    fn start(sizes: &[usize], change: impl FnOnce(&mut Stored)) -> Self {
        let file = |size: &usize| {
            let mut bytes = vec![0; *size];
            fastrand::Rng::with_seed(*size as u64).fill(&mut bytes);
            bytes.into()
        };
        let files = sizes.iter().map(file).collect();
        let mut stored = Stored { files, has_crc32: true, ..Stored::default() };
        change(&mut stored);
        let state = Arc::new(Mutex::new(stored));
        let serve = async |State(state): State<Arc<Mutex<Stored>>>,
                           extract::Path(path): extract::Path<String>,
                           headers: HeaderMap| {
            state.lock().unwrap().respond(&path, &headers)
        };
        let routes = Router::new().route("/{*path}", get(serve)).with_state(Arc::clone(&state));
        Self { host: RemoteHost::with_routes(routes).unwrap(), state }
    }

    fn state(&self) -> MutexGuard<'_, Stored> {
        self.state.lock().unwrap()
    }

    fn file(&self, number: usize) -> Bytes {
        self.state().files[number].clone()
    }

    /// Returns the ranges that were requested of an artwork, in any order.
    fn ranges(&self, number: usize) -> Vec<Option<String>> {
        let state = self.state();
        let of_artwork = state.requests.iter().filter(|(of, _)| *of == number);
        of_artwork.map(|(_, range)| range.clone()).collect()
    }

    /// Returns a worker whose artworks come from this vault.
    async fn worker(&self, s: &Scenario) -> Worker {
        let trust = Trust::from_environment(&Environment::default()).unwrap();
        let aws = s.stack.sdk_config().into_builder().endpoint_url(self.host.url(""));
        let aws = aws
            .http_client(shared::aws::http_client(&trust))
            .timeout_config(shared::aws::time_limits())
            .build();
        s.worker_with_artworks_in(Vault::new(shared::aws::s3(&aws, true), "vault")).await
    }
}

impl Stored {
    fn respond(&mut self, path: &str, headers: &HeaderMap) -> Response {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let number: usize =
            path.rsplit('/').next().unwrap().trim_end_matches(".png").parse().unwrap();
        let (range, file) = (text(RANGE), self.files[number].clone());
        self.requests.push((number, range.clone()));
        let is_new = self.changes_after.is_some_and(|count| self.requests.len() > count);
        let e_tag = if is_new { "\"2\"" } else { "\"1\"" };
        if text(IF_MATCH).is_some_and(|expected| expected != e_tag) {
            return StatusCode::PRECONDITION_FAILED.into_response();
        }
        assert_eq!(range.is_some(), headers.contains_key(IF_MATCH), "a range is of one version");
        let mut response = HeaderMap::new();
        response.insert(ETAG, e_tag.parse().unwrap());
        let (status, sent) = match &range {
            None => {
                if self.has_crc32 {
                    let crc32 = Some(crc32fast::hash(&file));
                    let part = Part { number: 1, e_tag: String::new(), crc32 }.completed();
                    let crc32 = part.checksum_crc32().unwrap().parse().unwrap();
                    response.insert("x-amz-checksum-crc32", crc32);
                }
                (StatusCode::OK, file)
            }
            Some(range) => {
                let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
                let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
                let content_range = format!("bytes {start}-{end}/{}", file.len());
                response.insert(CONTENT_RANGE, content_range.parse().unwrap());
                (StatusCode::PARTIAL_CONTENT, file.slice(start..=end))
            }
        };
        response.insert(CONTENT_LENGTH, sent.len().into());
        let sent = if self.flips { sent.iter().map(|byte| byte ^ 1).collect() } else { sent };
        let mib = usize::try_from(MIB).unwrap();
        if self.breaks_off && sent.len() > mib {
            let parts = [Ok(sent.slice(..mib)), Err(std::io::Error::other("it breaks off"))];
            // The bytes first: an error at once would discard them.
            let parts = stream::iter(parts).then(async |part| {
                tokio::task::yield_now().await;
                part
            });
            return (status, response, Body::from_stream(parts)).into_response();
        }
        (status, response, sent).into_response()
    }
}

async fn artworks(s: &Scenario, count: usize) -> Vec<i32> {
    let mut posts = Vec::new();
    for number in 0..count {
        let url = format!("/vault/{number}.png");
        let artwork = Artwork { file: None, art_url: Some(Some(url)), ..Artwork::default() };
        posts.push(s.artwork(artwork).await);
    }
    posts
}

/// Processes a request for the artworks of `vault`, and checks the ZIP and its checksums.
async fn check(s: &Scenario, vault: &LargeVault, receive_count: u32) {
    let count = vault.state().files.len();
    let bdr_id = s.request(&artworks(s, count).await).await;
    let worker = vault.worker(s).await;
    let delivery = worker.receive_again(&Scenario::message(bdr_id), receive_count).await;
    assert_eq!(delivery, Delivery::Acknowledged, "{}", s.log.outcome());
    let zip = s.archive(bdr_id).await.expect("an archive");
    let metadata = zip.json("metadata.json");
    assert_eq!(metadata["artwork_count"], count);
    let folder = unpack(&zip);
    for (number, artwork) in metadata["artworks"].as_array().unwrap().iter().enumerate() {
        let name = artwork["filename"].as_str().unwrap();
        let content = std::fs::read(folder.path().join("artworks").join(name)).unwrap();
        assert!(content == vault.file(number), "artwork {number} of {} bytes", content.len());
    }
    assert_checksums(folder.path());
}

pub(super) fn unpack(zip: &ZipFile) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in zip.contents() {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}

/// Asserts that `sha256sum` accepts the files of an unpacked archive.
pub(super) fn assert_checksums(folder: &Path) {
    let mut sha256sum = Command::new("sha256sum");
    let checked = sha256sum.args(["--strict", "--quiet", "-c", "SHA256SUMS"]);
    assert!(checked.current_dir(folder).status().unwrap().success());
}

#[test]
fn a_large_artwork_is_read_in_pieces_between_small_ones() {
    scenario(async |s| {
        let vault = LargeVault::start(&[300, 23 << 20, 7, 12 << 20, 6 << 20, 300_000], |_| {});
        check(&s, &vault, 1).await;
        let ranges = vault.ranges(1);
        assert_eq!((ranges.len(), &ranges[0]), (7, &None), "{ranges:?}");
        assert_eq!(vault.ranges(4), [None], "two pieces of one response");
        assert_eq!([0, 2, 5].map(|number| vault.ranges(number).len()), [1; 3], "small ones");
    });
}

#[test]
fn a_large_artwork_without_a_known_checksum_is_read_whole() {
    scenario(async |s| {
        let vault = LargeVault::start(&[300, 13 << 20], |vault| vault.has_crc32 = false);
        check(&s, &vault, 1).await;
        assert_eq!(vault.ranges(1), [None]);
    });
}

#[test]
fn nothing_is_read_in_pieces_on_the_last_receive() {
    scenario(async |s| {
        let vault = LargeVault::start(&[300, 13 << 20], |_| {});
        check(&s, &vault, 4).await;
        assert_eq!(vault.ranges(1), [None]);
    });
}

#[test]
fn pieces_that_break_off_are_resumed() {
    scenario(async |s| {
        let vault = LargeVault::start(&[12 << 20, 6 << 20], |vault| vault.breaks_off = true);
        check(&s, &vault, 1).await;
        // Four and two pieces of 3 MiB, a MiB at a time.
        for (number, requests) in [(0, 12), (1, 6)] {
            let ranges = vault.ranges(number);
            assert_eq!(ranges.len(), requests, "{ranges:?}");
            let resumed = format!("bytes={}-{}", MIB, 3 * MIB - 1);
            assert!(ranges.contains(&Some(resumed)), "{ranges:?}");
        }
    });
}

/// Checks that an attempt fails without a ZIP and without an open upload, and that a later one succeeds
/// after `change`.
async fn fails_once(s: &Scenario, vault: &LargeVault, error: &str, change: fn(&mut Stored)) {
    let count = vault.state().files.len();
    let posts = artworks(s, count).await;
    let bdr_id = s.request(&posts).await;
    let worker = vault.worker(s).await;
    assert_eq!(worker.receive(bdr_id).await, Delivery::BackLater);
    let outcome = s.log.outcome();
    assert!(outcome["error"].to_string().contains(error), "{outcome}");
    assert!(s.archive(bdr_id).await.is_none());
    change(&mut vault.state());
    let delivery = worker.receive_again(&Scenario::message(bdr_id), 2).await;
    assert_eq!(delivery, Delivery::Acknowledged, "{}", s.log.outcome());
    let zip = s.archive(bdr_id).await.expect("an archive");
    let name = zip.names().into_iter().find(|name| name.starts_with("artworks/")).unwrap();
    assert!(zip.content(&name) == vault.file(0));
}

#[test]
fn an_artwork_that_changes_while_it_is_read_fails_the_attempt() {
    scenario(async |s| {
        let vault = LargeVault::start(&[23 << 20], |vault| vault.changes_after = Some(3));
        fails_once(&s, &vault, "failed to read an artwork", |_| {}).await;
    });
}

#[test]
fn an_artwork_with_other_bytes_than_stated_fails_the_attempt() {
    scenario(async |s| {
        let vault = LargeVault::start(&[23 << 20], |vault| vault.flips = true);
        let error = "its bytes have another CRC32 than S3 states";
        fails_once(&s, &vault, error, |vault| vault.flips = false).await;
    });
}
