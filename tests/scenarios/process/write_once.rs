//! The ZIP is written once: an attempt never replaces the ZIP of another one, but adopts it.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use bdr_tests::in_process::now;
use bdr_tests::proxy::{Fault, HttpProxy, Script, Service, Target};
use bdr_tests::{Artwork, Delivery, Scenario, Worker, ZipFile, scenario};
use local_stack::remote::RemoteHost;
use shared::clock::Clock;
use shared::vault::{ArchiveKey, Vault};
use time::Duration;
use uuid::Uuid;

use super::strict_s3::StrictS3;

const OTHERS: &[u8] = b"another attempt's ZIP";

#[test]
fn a_later_receive_adopts_an_existing_zip_without_building() {
    scenario(async |s| {
        // No artwork can be fetched, so a build would fail.
        let post = s.artwork(Artwork { file: None, ..Artwork::default() }).await;
        let bdr_id = s.request(&[post, i32::MAX]).await;
        s.put(&s.archive_key(bdr_id), OTHERS).await;
        let delivery = s.worker(&[]).await.receive_again(&Scenario::message(bdr_id), 2).await;
        assert_eq!(delivery, Delivery::Acknowledged);
        let row = s.row(bdr_id).await;
        assert_eq!(
            (row["status"].as_str(), row["file_size_bytes"].as_u64()),
            (Some("ready"), Some(OTHERS.len() as u64))
        );
        assert_eq!(s.log.outcome()["adopted"], true);
        let subject = &s.emails().await[0].subject;
        assert_eq!(subject, "Your Makapix download is ready (2 artworks)", "as many as requested");
        let emitted = s.log.emitted();
        let ready = emitted.iter().find(|line| line["status"] == "ready").unwrap();
        assert!(ready.get("bdr_artworks_count").is_none(), "its artworks were not counted");
    });
}

/// Inserts a request for four artworks and one whose file does not exist.
async fn request_with_one_missing(s: &Scenario) -> Uuid {
    let mut posts = Vec::new();
    for file in [Some(&b"pixels"[..]), None, Some(b"more"), Some(b"and"), Some(b"more")] {
        posts.push(s.artwork(Artwork { file, ..Artwork::default() }).await);
    }
    s.request(&posts).await
}

/// Checks that outcome line, metrics and e-mail of an adopted ZIP have 4 artworks and 1 missing.
async fn check_adopted_counts(s: &Scenario, bdr_id: Uuid) {
    let outcome = s.log.outcome();
    assert_eq!((&outcome["result"], &outcome["adopted"]), (&"ready".into(), &true.into()));
    assert_eq!((&outcome["artworks"], &outcome["missing"]), (&4.into(), &1.into()), "{outcome}");
    let emitted = s.log.emitted();
    let ready = emitted.iter().rfind(|line| line["status"] == "ready").unwrap();
    assert_eq!(
        (&ready["bdr_artworks_count"], &ready["bdr_artworks_failed_total"]),
        (&4.into(), &1.into())
    );
    let emails = s.emails().await;
    assert_eq!(emails.len(), 1);
    assert_eq!(emails[0].subject, "Your Makapix download is ready (4 artworks)");
    assert!(emails[0].text.contains("1 artwork is missing"), "{}", emails[0].text);
    let metadata = s.archive(bdr_id).await.unwrap().json("metadata.json");
    assert_eq!(metadata["artwork_count"], 4);
}

#[test]
fn an_adopted_zip_reports_what_it_contains_and_lacks() {
    scenario(async |s| {
        let bdr_id = request_with_one_missing(&s).await;
        s.set(bdr_id, "send_email = false").await;
        let worker = s.worker(&[]).await;
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(s.log.outcome()["adopted"], false);
        // As if the attempt had been killed after its PutObject.
        s.set(bdr_id, "status = 'processing', file_path = NULL, send_email = true").await;
        let delivery = worker.receive_again(&Scenario::message(bdr_id), 2).await;
        assert_eq!(delivery, Delivery::Acknowledged);
        check_adopted_counts(&s, bdr_id).await;
    });
}

#[test]
fn a_zip_whose_first_response_was_lost_reports_its_counts() {
    scenario(async |s| {
        let bdr_id = request_with_one_missing(&s).await;
        // S3 rejects the SDK's own retry of the PutObject with 412.
        let lost = Target::Nth(Service::S3, "PutObject".to_owned(), 1);
        let script = Arc::new(Script::new(vec![(lost, Fault::LostAnswer)]));
        let (aws, web) = (s.stack.endpoint(), s.remote.url(""));
        let proxy = HttpProxy::start(Arc::clone(&script), aws, &web).await.unwrap();
        let aws = s.stack.sdk_config().into_builder().endpoint_url(proxy.endpoint()).build();
        let worker = s.worker_through(&aws, &[]).await;
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(script.struck().len(), 1);
        check_adopted_counts(&s, bdr_id).await;
    });
}

#[test]
fn the_counts_are_read_from_the_zip_that_was_checked_only() {
    scenario(async |s| {
        let bdr_id = s.request(&[1]).await;
        let vault = s.worker(&[]).await.handler.job.archiver.vault;
        let key = ArchiveKey::parse(&s.archive_key(bdr_id)).unwrap();
        let large: Vec<u8> = (0..3_000_u16).flat_map(u16::to_le_bytes).collect();
        for (content, end) in [(OTHERS, OTHERS), (&large, &large[large.len() - 1024..]), (b"", b"")]
        {
            s.put(key.as_str(), content).await;
            let object = vault.archive(&key).await.unwrap().unwrap();
            assert_eq!(vault.archive_end(&key, &object).await.unwrap().unwrap(), end);
        }
        s.put(key.as_str(), &large).await;
        let object = vault.archive(&key).await.unwrap().unwrap();
        s.put(key.as_str(), OTHERS).await;
        assert_eq!(vault.archive_end(&key, &object).await.unwrap(), None, "it was replaced");
        s.s3.delete_object().bucket(s.bucket()).key(key.as_str()).send().await.unwrap();
        assert_eq!(vault.archive_end(&key, &object).await.unwrap(), None, "it was deleted");
    });
}

#[test]
fn a_zip_written_meanwhile_is_adopted_not_replaced() {
    scenario(async |s| {
        // The first size fits into one PutObject, the second needs a multipart upload.
        for size in [10, 9 << 20] {
            let post =
                s.artwork(Artwork { file: Some(&vec![1; size]), ..Artwork::default() }).await;
            let bdr_id = s.request(&[post]).await;
            s.put(&s.archive_key(bdr_id), OTHERS).await;
            assert_eq!(s.worker(&[]).await.receive(bdr_id).await, Delivery::Acknowledged);
            assert_eq!(s.archive(bdr_id).await.unwrap().bytes, OTHERS);
            assert_eq!(s.row(bdr_id).await["file_size_bytes"], OTHERS.len());
            assert_eq!(s.log.outcome()["adopted"], true);
            assert_eq!(s.open_uploads().await, 0);
        }
    });
}

#[test]
fn a_leftover_older_than_twelve_hours_is_replaced() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        s.put(&s.archive_key(bdr_id), OTHERS).await;
        let mut worker = s.worker(&[]).await;
        worker.handler.job.archiver.clock = Clock::fixed(now() + Duration::hours(13));
        let delivery = worker.receive_again(&Scenario::message(bdr_id), 2).await;
        assert_eq!(delivery, Delivery::Acknowledged);
        let zip = s.archive(bdr_id).await.unwrap();
        assert!(zip.names().contains(&"metadata.json".to_owned()));
        assert_eq!(s.log.outcome()["adopted"], false);
    });
}

#[test]
fn a_zip_of_borderline_age_is_neither_adopted_nor_deleted() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        s.put(&s.archive_key(bdr_id), OTHERS).await;
        let mut worker = s.worker(&[]).await;
        worker.handler.job.archiver.clock = Clock::fixed(now() + Duration::minutes(12 * 60 + 5));
        let delivery = worker.receive_again(&Scenario::message(bdr_id), 2).await;
        assert_eq!(delivery, Delivery::BackLater);
        assert_eq!(s.row(bdr_id).await["status"], "pending");
        assert_eq!(s.archive(bdr_id).await.unwrap().bytes, OTHERS);
    });
}

#[test]
fn a_large_zip_is_uploaded_in_parts_and_reads_back_whole() {
    scenario(async |s| {
        let file: Vec<u8> = (0..7 << 20).map(|n: u32| n.to_le_bytes()[n as usize % 4]).collect();
        let mut posts = Vec::new();
        for _ in 0..3 {
            posts.push(s.artwork(Artwork { file: Some(&file), ..Artwork::default() }).await);
        }
        let bdr_id = s.request(&posts).await;
        assert_eq!(s.worker(&[]).await.receive(bdr_id).await, Delivery::Acknowledged);
        let zip = s.archive(bdr_id).await.unwrap();
        assert!(zip.bytes.len() > 21 << 20);
        for name in zip.names().iter().filter(|name| name.starts_with("artworks/")) {
            assert!(zip.content(name) == file, "{name} differs");
        }
        assert_eq!(s.row(bdr_id).await["file_size_bytes"], zip.bytes.len());
        assert_eq!(s.open_uploads().await, 0);
    });
}

#[test]
fn a_zip_that_changes_on_its_way_is_refused_and_sent_again() {
    scenario(async |s| {
        for (operation, size) in [("PutObject", 1 << 20), ("UploadPart", 11 << 20)] {
            let file = vec![1; size];
            let post = s.artwork(Artwork { file: Some(&file), ..Artwork::default() }).await;
            let bdr_id = s.request(&[post]).await;
            let target = Target::Nth(Service::S3, operation.to_owned(), 1);
            let script = Arc::new(Script::new(vec![(target, Fault::FlippedBit)]));
            let proxy = HttpProxy::start(script, s.stack.endpoint(), "").await.unwrap();
            let worker = s.worker_through(&proxy.sdk_config(s.stack), &[]).await;
            assert_eq!(worker.receive(bdr_id).await, Delivery::BackLater, "{operation}");
            let refused = proxy.exchanges().into_iter().filter(|it| it.status == 400);
            let refused: Vec<_> = refused.map(|exchange| exchange.call.operation).collect();
            assert_eq!(refused, [operation]);
            assert!(s.archive(bdr_id).await.is_none(), "{operation}");

            let delivery = worker.receive_again(&Scenario::message(bdr_id), 2).await;
            assert_eq!(delivery, Delivery::Acknowledged, "{operation}");
            let zip = s.archive(bdr_id).await.unwrap();
            let artwork = zip.names().into_iter().find(|name| name.starts_with("artworks/"));
            assert!(zip.content(&artwork.unwrap()) == file, "{operation}");
        }
        assert_eq!(s.open_uploads().await, 0);
    });
}

/// Returns a worker that writes its ZIPs to this S3, and a request for 20 MiB, of which S3 copies nothing.
async fn uploading_to(s: &Scenario, strict: &StrictS3) -> (Worker, Uuid) {
    let file = vec![1; 5 << 20];
    let mut posts = Vec::new();
    for _ in 0..4 {
        posts.push(s.artwork(Artwork { file: Some(&file), ..Artwork::default() }).await);
    }
    let bdr_id = s.request(&posts).await;
    let mut worker = s.worker(&[]).await;
    let client = shared::aws::s3(&strict.proxy.sdk_config(s.stack), true);
    worker.handler.job.archiver.vault = Vault::new(client, s.bucket());
    (worker, bdr_id)
}

#[test]
fn an_upload_obeys_the_rules_that_only_aws_enforces() {
    scenario(async |s| {
        let strict = StrictS3::start(s.stack, true).await;
        let (worker, bdr_id) = uploading_to(&s, &strict).await;
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged, "{:?}", s.log.outcome());
        let zip = ZipFile { bytes: strict.object().expect("a completed upload") };
        assert_eq!(zip.names().len(), 7);
        assert_eq!(s.row(bdr_id).await["file_size_bytes"], zip.bytes.len());
    });
}

#[test]
fn an_upload_that_never_completes_is_aborted_before_the_deadline() {
    scenario(async |s| {
        let strict = StrictS3::start(s.stack, false).await;
        let (mut worker, bdr_id) = uploading_to(&s, &strict).await;
        worker.time_left = std::time::Duration::from_secs(25);
        assert_eq!(worker.receive(bdr_id).await, Delivery::BackLater);
        assert_eq!(s.row(bdr_id).await["status"], "pending");
        assert!(strict.is_aborted());
    });
}

#[test]
fn the_upload_of_a_cancelled_attempt_is_aborted() {
    scenario(async |s| {
        let strict = StrictS3::start(s.stack, false).await;
        let (worker, bdr_id) = uploading_to(&s, &strict).await;
        let started = s.wait("a part", async || Ok(strict.has_parts().then_some(())));
        tokio::select! {
            delivery = worker.receive(bdr_id) => panic!("{delivery:?}"),
            () = started => {}
        }
        s.wait("the abort", async || Ok(strict.is_aborted().then_some(()))).await;
    });
}

#[test]
fn a_successful_attempt_aborts_the_uploads_of_killed_ones() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let (bdr_id, another) = (s.request(&[post]).await, s.request(&[post]).await);
        for key in [s.archive_key(bdr_id), s.archive_key(bdr_id), s.archive_key(another)] {
            let upload = s.s3.create_multipart_upload().bucket(s.bucket()).key(key);
            upload.send().await.unwrap();
        }
        let delivery = s.worker(&[]).await.receive_again(&Scenario::message(bdr_id), 2).await;
        assert_eq!(delivery, Delivery::Acknowledged);
        assert_eq!(s.open_uploads().await, 1, "the upload of the other request stays");
    });
}

#[test]
fn an_attempt_stopped_midway_leaves_no_upload() {
    scenario(async |s| {
        // The first artwork fills two parts; the second never arrives.
        let vault = Router::new()
            .route("/vault/large", get(async || vec![1_u8; 17 << 20]))
            .route("/vault/never", get(async || std::future::pending::<()>().await));
        let host = RemoteHost::with_routes(vault).unwrap();
        let mut posts = Vec::new();
        for art_url in ["/vault/large", "/vault/never"] {
            let art_url = Some(Some(art_url.to_owned()));
            posts.push(s.artwork(Artwork { file: None, art_url, ..Artwork::default() }).await);
        }
        let bdr_id = s.request(&posts).await;
        let mut worker = s.worker_with_artworks_from(&host).await;
        // An attempt stops 20 s before the deadline, so after 4 s.
        worker.time_left = std::time::Duration::from_secs(24);
        assert_eq!(worker.receive(bdr_id).await, Delivery::BackLater);
        let error = s.log.outcome()["error"].to_string();
        assert!(error.contains("before the deadline"), "{error}");
        assert_eq!(s.row(bdr_id).await["status"], "pending");
        assert!(s.archive(bdr_id).await.is_none());
        assert_eq!(s.open_uploads().await, 0);
    });
}
