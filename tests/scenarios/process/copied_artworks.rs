//! S3 copies the ends of large artworks into the archive.

use std::sync::Arc;

use bdr_tests::proxy::{Fault, HttpProxy, Script, Service, Target};
use bdr_tests::virtual_s3::VirtualS3;
use bdr_tests::{Artwork, Delivery, Scenario, Worker, ZipFile, scenario, scenario_apart};
use process_bdr_job::artwork::CopyTerms;
use process_bdr_job::memory::{MIB, Memory};
use shared::clock::Clock;
use time::macros::datetime;
use uuid::Uuid;
use zip_to_s3::plan::Prefer;

use super::export_scale::{scale, with_vault};
use super::large_artworks::{assert_checksums, unpack};

/// Sizes of artworks in bytes: two that are worth a copy beside each other, smaller ones around them.
const SIZES: [usize; 6] = [300, 23 << 20, 14 << 20, 7, 6 << 20, 300_000];

async fn request(s: &Scenario, sizes: &[usize]) -> Uuid {
    let mut posts = Vec::new();
    for &size in sizes {
        let mut bytes = vec![0; size];
        fastrand::Rng::with_seed(size as u64).fill(&mut bytes);
        posts.push(s.artwork(Artwork { file: Some(&bytes), ..Artwork::default() }).await);
    }
    s.request(&posts).await
}

/// A new worker whose calls pass a proxy.
struct Proxied {
    worker: Worker,
    proxy: HttpProxy,
    script: Arc<Script>,
}

impl Proxied {
    async fn start(s: &Scenario, variables: &[(&str, &str)], faults: Vec<(Target, Fault)>) -> Self {
        let script = Arc::new(Script::new(faults));
        let proxy = HttpProxy::start(Arc::clone(&script), s.stack.endpoint(), "").await.unwrap();
        let mut worker = s.worker_through(&proxy.sdk_config(s.stack), variables).await;
        // So that two archives of a request have the same bytes.
        worker.handler.job.archiver.clock = Clock::fixed(datetime!(2025-03-05 00:00 UTC));
        Self { worker, proxy, script }
    }

    /// Returns the number of copies so far.
    fn copies(&self) -> usize {
        let exchanges = self.proxy.exchanges();
        exchanges.iter().filter(|exchange| exchange.call.operation == "UploadPartCopy").count()
    }

    async fn receive(&self, bdr_id: Uuid, receive_count: u32) -> Delivery {
        self.worker.receive_again(&Scenario::message(bdr_id), receive_count).await
    }

    /// Makes the archive of a request, and deletes it.
    async fn take_archive(&self, s: &Scenario, bdr_id: Uuid) -> ZipFile {
        assert_eq!(self.receive(bdr_id, 1).await, Delivery::Acknowledged, "{}", s.log.outcome());
        let zip = s.archive(bdr_id).await.expect("an archive");
        assert_eq!(s.open_uploads().await, 0);
        let archive = s.s3.delete_object().bucket(s.bucket()).key(s.archive_key(bdr_id));
        archive.send().await.unwrap();
        s.set(bdr_id, "status = 'pending'").await;
        zip
    }
}

fn copy(number: usize, fault: Fault) -> Vec<(Target, Fault)> {
    vec![(Target::Nth(Service::S3, "UploadPartCopy".to_owned(), number), fault)]
}

#[test]
fn an_archive_with_copies_has_the_bytes_of_one_without() {
    scenario(async |s| {
        let bdr_id = request(&s, &SIZES).await;
        for checksums in ["false", "true"] {
            let variables = [("CHECKSUMS", checksums)];
            let copying = Proxied::start(&s, &variables, Vec::new()).await;
            let copied = copying.take_archive(&s, bdr_id).await;
            assert_eq!(copying.copies(), 2);
            // Each artwork but for the first 5 MiB of a part, which begin with headers and small artworks.
            let copied_bytes = s.log.outcome()["copied_bytes"].as_u64().unwrap();
            assert!((27 << 20..(27 << 20) + 1_000).contains(&copied_bytes), "{copied_bytes}");
            if checksums == "true" {
                assert_checksums(unpack(&copied).path());
            }
            // The first refusal shows that S3 copies nothing for this function.
            let refused = Proxied::start(&s, &variables, copy(1, Fault::Denial)).await;
            let streamed = refused.take_archive(&s, bdr_id).await;
            assert_eq!((refused.copies(), refused.script.struck().len()), (1, 1));
            assert!(copied.bytes == streamed.bytes, "{checksums}");
            assert!(s.log.text().contains("S3 does not copy an artwork"));
            refused.take_archive(&s, bdr_id).await;
            assert_eq!(refused.copies(), 1, "another request");
        }
    });
}

#[test]
fn for_speed_smaller_artworks_are_copied_too() {
    scenario(async |s| {
        let mut file = vec![1; 11 << 20];
        file.extend(b"end");
        let post = s.artwork(Artwork { file: Some(&file), ..Artwork::default() }).await;
        let bdr_id = s.request(&[post]).await;
        for (prefer, copies) in [("price", 0), ("speed", 1)] {
            let variables = [("CHECKSUMS", "false"), ("PREFER", prefer)];
            let proxied = Proxied::start(&s, &variables, Vec::new()).await;
            let zip = proxied.take_archive(&s, bdr_id).await;
            let name = zip.names().into_iter().find(|name| name.starts_with("artworks/")).unwrap();
            assert!(zip.content(&name) == file);
            assert_eq!(proxied.copies(), copies, "{prefer}");
        }
    });
}

#[test]
fn copies_whose_responses_are_lost_are_requested_again() {
    scenario(async |s| {
        let sizes = [13 << 20; 2];
        let bdr_id = request(&s, &sizes).await;
        for (fault, number) in [
            (Fault::LostRequest, 1),
            (Fault::LostAnswer, 2),
            (Fault::Throttling, 1),
            (Fault::Error, 2),
        ] {
            let faults = copy(number, fault);
            let proxied = Proxied::start(&s, &[("CHECKSUMS", "false")], faults).await;
            let zip = proxied.take_archive(&s, bdr_id).await;
            assert_eq!(proxied.script.struck().len(), 1, "{fault:?}");
            // A request that is lost is not among them.
            assert!(proxied.copies() >= sizes.len(), "{fault:?}");
            assert_eq!(zip.json("metadata.json")["artwork_count"], sizes.len());
        }
    });
}

#[test]
fn after_a_late_refusal_every_byte_is_sent() {
    scenario(async |s| {
        let bdr_id = request(&s, &SIZES).await;
        let faults = copy(2, Fault::Denial);
        let proxied = Proxied::start(&s, &[("CHECKSUMS", "false")], faults).await;
        assert_eq!(proxied.receive(bdr_id, 1).await, Delivery::BackLater);
        assert_eq!((proxied.copies(), s.open_uploads().await), (2, 0));
        proxied.take_archive(&s, bdr_id).await;
        assert_eq!(proxied.copies(), 2);
    });
}

#[test]
fn nothing_is_copied_on_the_last_receive() {
    scenario(async |s| {
        let bdr_id = request(&s, &SIZES).await;
        let proxied = Proxied::start(&s, &[("CHECKSUMS", "false")], Vec::new()).await;
        let delivery = proxied.receive(bdr_id, 4).await;
        assert_eq!(delivery, Delivery::Acknowledged, "{}", s.log.outcome());
        assert_eq!(proxied.copies(), 0);
    });
}

#[test]
fn an_artwork_that_changes_before_it_is_copied_fails_the_attempt() {
    scenario(async |s| {
        let bdr_id = request(&s, &SIZES).await;
        let held = copy(2, Fault::Hold);
        let proxied = Proxied::start(&s, &[("CHECKSUMS", "false")], held).await;
        let attempt = proxied.receive(bdr_id, 1);
        let change = async {
            s.wait("the second copy", async || {
                Ok((proxied.script.struck().len() == 1).then_some(()))
            })
            .await;
            let url = "SELECT art_url FROM posts WHERE owner_id = $1 ORDER BY id OFFSET 2 LIMIT 1";
            let row = s.database.query_one(url, &[&s.user_id]).await.unwrap();
            let key = row.get::<_, String>(0).split_off("/vault/".len());
            s.put(&key, &vec![2; SIZES[2]]).await;
            proxied.script.let_go();
        };
        let (delivery, ()) = tokio::join!(attempt, change);
        assert_eq!(delivery, Delivery::BackLater);
        let error = s.log.outcome()["error"].to_string();
        assert!(error.contains("changed before S3 copied it"), "{error}");
        proxied.take_archive(&s, bdr_id).await;
    });
}

#[test]
fn a_copy_with_another_checksum_than_the_artwork_fails_the_attempt() {
    scenario_apart(async |s| {
        let vault = VirtualS3::start().unwrap();
        let bdr_id = scale(3, 20 * MIB, 1, u64::MAX).request(&s).await;
        let mut worker = with_vault(s.worker(&[]).await, &s, &vault);
        let archiver = &mut worker.handler.job.archiver;
        archiver.extras.checksums = false;
        let terms = CopyTerms::new(Prefer::Price, &Memory::plan(512 * MIB, 64 * MIB), false);
        let streaming = archiver.fetcher.clone();
        archiver.fetcher = streaming.clone().copying(terms);
        vault.corrupt_copies(true);
        let message = Scenario::message(bdr_id);
        assert_eq!(worker.receive_again(&message, 1).await, Delivery::BackLater);
        let error = s.log.outcome()["error"].to_string();
        assert!(error.contains("S3 copied bytes with another CRC32"), "{error}");
        assert_eq!((vault.sizes().len(), vault.open_uploads()), (0, 0));

        vault.corrupt_copies(false);
        let _ = vault.take_requests();
        assert_eq!(worker.receive_again(&message, 1).await, Delivery::Acknowledged);
        assert_eq!(vault.take_requests()["UploadPartCopy"], 3);
        let key = s.archive_key(bdr_id);
        let copied = (vault.sizes()[&key], vault.crc32(&key).unwrap());
        vault.delete(&key);
        s.set(bdr_id, "status = 'pending'").await;
        worker.handler.job.archiver.fetcher = streaming;
        assert_eq!(worker.receive_again(&message, 1).await, Delivery::Acknowledged);
        assert_eq!(copied, (vault.sizes()[&key], vault.crc32(&key).unwrap()), "size and CRC32");
    });
}
