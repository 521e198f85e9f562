//! The ZIP is written once: an attempt never replaces the ZIP of another one, but adopts it.

use axum::Router;
use axum::routing::get;
use bdr_tests::in_process::now;
use bdr_tests::{Artwork, Delivery, Scenario, Worker, ZipFile, scenario};
use local_stack::remote::RemoteHost;
use shared::clock::Clock;
use shared::vault::Vault;
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

/// Returns a worker that writes its ZIPs to this S3, and a request for 20 MiB.
async fn uploading_to(s: &Scenario, strict: &StrictS3) -> (Worker, Uuid) {
    let file = vec![1; 20 << 20];
    let post = s.artwork(Artwork { file: Some(&file), ..Artwork::default() }).await;
    let bdr_id = s.request(&[post]).await;
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
        assert_eq!(zip.names().len(), 2);
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
