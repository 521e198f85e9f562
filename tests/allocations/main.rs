//! The number of allocations per artwork: what CI can compare between machines.
//!
//! 500 small artworks go through the lane of the vault and the ZIP writer, against an S3 server on a thread of
//! its own. Allocations are counted on the thread of the function only, once everything is warm. Unlike
//! instructions, their number depends on neither the processor nor the optimization of the build.

#![expect(clippy::print_stdout, reason = "the count is the purpose")]
#![expect(clippy::unwrap_used, reason = "this is a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use axum::Router;
use axum::extract::Request;
use axum::http::Method;
use axum::http::header::{CONTENT_LENGTH, ETAG};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::StreamExt as _;
use local_stack::remote::RemoteHost;
use process_bdr_job::artwork::{ArtworkFile, Fetcher, StopTimes};
use process_bdr_job::load::{MissingPost, Post};
use process_bdr_job::memory::{MIB, Memory};
use process_bdr_job::remote::{Remote, Web};
use shared::aws::Trust;
use shared::config::Environment;
use shared::sqid::Sqid;
use shared::vault::{ArchiveKey, Finished, Vault};
use tokio::time::Instant;
use zip_to_s3::zip::ZipWriter;

/// Artworks of 20,000 bytes: 10 MB, which are two parts.
const ARTWORKS: u16 = 500;
const SIZE: usize = 20_000;
/// Allocations per artwork, as counted on x86-64 in the profile of development.
const BASELINE: f64 = 77.0;
/// The share by which the count may exceed the baseline. Repetitions differ by less than 1 %.
const TOLERANCE: f64 = 0.05;

/// Responds as S3 does, to what the function sends.
async fn respond(request: Request) -> Response {
    let (method, query) = (request.method().clone(), request.uri().query().map(str::to_owned));
    let query = query.unwrap_or_default();
    if method == Method::GET {
        return ([(CONTENT_LENGTH, SIZE)], vec![7; SIZE]).into_response();
    }
    // Read to its end, as S3 does before it responds.
    let _ = axum::body::to_bytes(request.into_body(), usize::MAX).await;
    match method {
        Method::POST if query.starts_with("uploads") => {
            "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
                .into_response()
        }
        Method::POST => {
            "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
                .into_response()
        }
        _ => [(ETAG, "\"e\"")].into_response(),
    }
}

fn posts() -> Vec<Result<Post, MissingPost>> {
    let post = |id: u16| Post {
        id: id.into(),
        sqid: Sqid::parse(&format!("art{id}")),
        title: Some("Artwork".to_owned()),
        description: None,
        hashtags: Vec::new(),
        mod_hashtags: None,
        license: None,
        source_url: None,
        art_url: Some(format!("/vault/8c/4f/{id}.png")),
        file_format: Some("png".to_owned()),
        width: Some(64),
        height: Some(64),
        frame_count: Some(1),
        created_at: None,
    };
    (0..ARTWORKS).map(post).map(Ok).collect()
}

/// Fetches the artworks and uploads them as a ZIP. Returns its size.
async fn archive(vault: &Vault, fetcher: &Fetcher, posts: &[Result<Post, MissingPost>]) -> u64 {
    let owner = Sqid::parse("artist").unwrap();
    let mut upload = vault.upload(&ArchiveKey::new(&owner, uuid::Uuid::nil()));
    let mut zip = ZipWriter::new(&mut upload);
    let deadline = Instant::now() + Duration::from_mins(1);
    let stop = StopTimes { vault: None, web: deadline };
    let mut artworks = std::pin::pin!(fetcher.fetch(posts, fetcher.window(), stop));
    while let Some(artwork) = artworks.next().await {
        let Ok(artwork) = artwork else { panic!("an artwork was not fetched") };
        let ArtworkFile::Whole(file) = artwork.file else { panic!("a small artwork is streamed") };
        let name = &artwork.planned.name.filename;
        zip.add_header(name, None, file.crc32, file.size()).await.unwrap();
        for chunk in file.chunks {
            zip.sink().append(chunk.bytes, chunk.crc32).await.unwrap();
        }
    }
    zip.close().await.unwrap();
    match upload.finish(deadline).await.unwrap() {
        Finished::Created { size_bytes, .. } => size_bytes,
        Finished::Conflict => panic!("the upload is in conflict"),
    }
}

#[test]
fn an_artwork_takes_no_more_allocations_than_the_baseline() {
    let host = RemoteHost::with_routes(Router::new().route("/{*path}", any(respond))).unwrap();
    let trust = Trust::from_environment(&Environment::default()).unwrap();
    let credentials = Credentials::new("key", "secret", None, None, "test");
    let aws = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(host.url(""))
        .http_client(shared::aws::http_client(&trust))
        .build();
    let vault = Vault::new(shared::aws::s3(&aws, true), "vault");
    let remote = Arc::new(Remote::new(Web::default(), Vec::new().into_iter().collect()));
    let fetcher = Fetcher::new(vault.clone(), remote, Memory::plan(512 * MIB, 64 * MIB));
    let posts = posts();
    // One thread, so that the counts of this one are those of the function.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let size = AtomicU64::new(0);
    let count = || {
        let counted = allocation_counter::measure(|| {
            size.store(runtime.block_on(archive(&vault, &fetcher, &posts)), Relaxed);
        });
        assert!(size.load(Relaxed) > u64::from(ARTWORKS) * SIZE as u64);
        u32::try_from(counted.count_total).map_or(f64::MAX, f64::from) / f64::from(ARTWORKS)
    };
    let cold = count();
    // The least of a few: a connection that is opened again is no change of the code.
    let warm = (0..4).map(|_| count()).fold(f64::MAX, f64::min);
    println!("allocations per artwork: {warm:.2} (cold {cold:.2}, baseline {BASELINE:.2})");
    assert!(
        warm <= BASELINE * (1.0 + TOLERANCE),
        "an artwork takes {warm:.2} allocations, and the baseline is {BASELINE:.2}. To find those \
         that are new, compare `valgrind --tool=dhat` of this test before and after the change. If \
         they are worth it, raise BASELINE in tests/allocations/main.rs and give the reason in the \
         commit."
    );
    assert!(
        warm >= BASELINE * (1.0 - TOLERANCE),
        "an artwork takes only {warm:.2} allocations, and the baseline is {BASELINE:.2}. To keep \
         that, lower BASELINE in tests/allocations/main.rs."
    );
}
