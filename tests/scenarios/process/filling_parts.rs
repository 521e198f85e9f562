//! Parts are sent while they fill.

use std::sync::Arc;

use bdr_tests::proxy::{Exchange, Fault, HttpProxy, Script, TRAILER, Target};
use bdr_tests::{Artwork, Delivery, Scenario, Worker, scenario};

/// Number of artworks of 5 MiB, of which S3 copies nothing.
const ARTWORKS: u8 = 6;

/// A worker whose calls to AWS pass a proxy.
struct Proxied {
    worker: Worker,
    proxy: HttpProxy,
}

impl Proxied {
    async fn start(s: &Scenario, faults: Vec<(Target, Fault)>) -> Self {
        let script = Arc::new(Script::new(faults));
        let proxy = HttpProxy::start(script, s.stack.endpoint(), "").await.unwrap();
        let worker = s.worker_through(&proxy.sdk_config(s.stack), &[]).await;
        Self { worker, proxy }
    }

    /// Receives a request for artworks of 5 MiB, checks its archive, and returns the calls that sent parts.
    async fn receive(&self, s: &Scenario) -> Vec<Exchange> {
        let before = self.proxy.exchanges().len();
        let file = |number| vec![number; 5 << 20];
        let mut posts = Vec::new();
        for number in 0..ARTWORKS {
            posts
                .push(s.artwork(Artwork { file: Some(&file(number)), ..Artwork::default() }).await);
        }
        let bdr_id = s.request(&posts).await;
        let delivery = self.worker.receive(bdr_id).await;
        assert_eq!(delivery, Delivery::Acknowledged, "{}", s.log.outcome());
        let zip = s.archive(bdr_id).await.unwrap();
        let mut artworks = zip.names();
        artworks.retain(|name| name.starts_with("artworks/"));
        let mut first_bytes: Vec<_> = artworks
            .iter()
            .map(|name| zip.content(name))
            .map(|bytes| {
                assert!(bytes == file(bytes[0]), "an artwork has other bytes");
                bytes[0]
            })
            .collect();
        first_bytes.sort_unstable();
        assert!(first_bytes.into_iter().eq(0..ARTWORKS));
        assert_eq!(s.open_uploads().await, 0);
        let mut parts = self.proxy.exchanges().split_off(before);
        parts.retain(|exchange| exchange.call.operation == "UploadPart");
        parts
    }
}

/// Returns whether a part was sent before its CRC32 was known.
fn is_sent_early(part: &Exchange) -> bool {
    part.call.request.ends_with(TRAILER)
}

/// Returns the statuses of the calls for the early part that failed. The second one is not early.
fn sent_twice(parts: &[Exchange]) -> [u16; 2] {
    let failed = parts.iter().find(|part| !part.status.is_success()).expect("a refused part");
    assert!(is_sent_early(failed));
    let same: Vec<_> =
        parts.iter().filter(|part| part.request.uri() == failed.request.uri()).collect();
    let [first, second] = same[..] else { panic!("{same:?}") };
    assert!(!is_sent_early(second));
    [first.status, second.status].map(|status| status.as_u16())
}

fn first_early(fault: Fault) -> Vec<(Target, Fault)> {
    vec![(Target::Containing(TRAILER.to_owned()), fault)]
}

#[test]
fn parts_are_sent_while_they_fill_except_the_first_and_the_last() {
    scenario(async |s| {
        let parts = Proxied::start(&s, vec![]).await.receive(&s).await;
        assert_eq!(parts.len(), 7, "each once");
        assert!(parts.iter().all(|part| part.status.is_success()));
        let is_early = |number| {
            let number = format!("partNumber={number}&");
            is_sent_early(parts.iter().find(|part| part.call.request.contains(&number)).unwrap())
        };
        assert!(!is_early(1) && (2..7).any(is_early) && !is_early(7));
    });
}

#[test]
fn a_part_that_changes_while_it_fills_is_sent_again() {
    scenario(async |s| {
        let proxied = Proxied::start(&s, first_early(Fault::FlippedBit)).await;
        assert_eq!(sent_twice(&proxied.receive(&s).await), [400, 200]);
        assert!(proxied.receive(&s).await.iter().any(is_sent_early), "others are sent early");
    });
}

#[test]
fn an_s3_that_refuses_unfinished_parts_receives_no_more_of_them() {
    scenario(async |s| {
        let proxied = Proxied::start(&s, first_early(Fault::Denial)).await;
        assert_eq!(sent_twice(&proxied.receive(&s).await), [403, 200]);
        assert!(!proxied.receive(&s).await.iter().any(is_sent_early));
        assert_eq!(s.log.text().matches("S3 does not accept parts").count(), 1);
    });
}
