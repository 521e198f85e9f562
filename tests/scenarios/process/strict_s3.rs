//! The rules of a multipart upload that AWS enforces and the stand-in does not: every part but the last
//! has at least 5 MiB, and the completion lists the parts in order, each with its checksum.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_chunked::Framing;
use bdr_tests::proxy::{Exchange, Fault, HttpProxy, Script, Service, Target};
use local_stack::LocalStack;
use tokio_util::task::AbortOnDropHandle;

const CHECKSUM: &str = "x-amz-checksum-crc32";
/// Time between two looks for a part.
const PERIOD: Duration = Duration::from_millis(20);

/// An S3 in front of the stack's, for one upload, whose first part arrives after another one.
pub(super) struct StrictS3 {
    /// The proxy to which the upload goes.
    pub(super) proxy: Arc<HttpProxy>,
    _reordering: AbortOnDropHandle<()>,
}

impl StrictS3 {
    /// Starts it. Unless `completes`, no completion is answered.
    pub(super) async fn start(stack: &LocalStack, completes: bool) -> Self {
        let mut planned = vec![(Target::Containing("partNumber=1&".to_owned()), Fault::Hold)];
        if !completes {
            let operation = "CompleteMultipartUpload".to_owned();
            let completion = |n| Target::Nth(Service::S3, operation.clone(), n);
            planned.extend((1..10).map(|n| (completion(n), Fault::Hold)));
        }
        let script = Arc::new(Script::new(planned));
        let proxy = HttpProxy::start(Arc::clone(&script), stack.endpoint(), "").await.unwrap();
        let proxy = Arc::new(proxy);
        let parts = Arc::clone(&proxy);
        let reordering = tokio::spawn(async move {
            script.wait_for_hold().await;
            let mut looks = tokio::time::interval(PERIOD);
            while calls(&parts, "UploadPart").is_empty() {
                looks.tick().await;
            }
            script.let_go();
        });
        Self { proxy, _reordering: AbortOnDropHandle::new(reordering) }
    }

    /// Returns whether a part has arrived.
    pub(super) fn has_parts(&self) -> bool {
        !calls(&self.proxy, "UploadPart").is_empty()
    }

    /// Returns whether the upload was aborted.
    pub(super) fn is_aborted(&self) -> bool {
        !calls(&self.proxy, "AbortMultipartUpload").is_empty()
    }

    /// Returns the object, if its upload was completed.
    ///
    /// # Panics
    /// When the upload breaks a rule.
    pub(super) fn object(&self) -> Option<Vec<u8>> {
        let completion = calls(&self.proxy, "CompleteMultipartUpload").pop()?;
        let begun = calls(&self.proxy, "CreateMultipartUpload").pop()?;
        let kind =
            ["x-amz-checksum-algorithm", "x-amz-checksum-type"].map(|name| header(&begun, name));
        assert_eq!(kind, ["CRC32", "COMPOSITE"], "the upload declares the checksums of its parts");
        assert_eq!(header(&completion, "if-none-match"), "*", "the completion replaces no object");

        let mut parts: BTreeMap<u32, (String, Vec<u8>)> = BTreeMap::new();
        for part in calls(&self.proxy, "UploadPart") {
            let uri = part.request.uri().to_string();
            let number = between(&uri, "partNumber=", "&").next().unwrap().parse().unwrap();
            parts.insert(number, checksum_and_bytes(&part));
        }
        let listed = std::str::from_utf8(completion.request.body()).unwrap();
        let numbers =
            between(listed, "<PartNumber>", "</PartNumber>").map(|n| n.parse::<u32>().unwrap());
        assert!(numbers.eq(parts.keys().copied()), "the parts are not listed in order: {listed}");
        let checksums = between(listed, "<ChecksumCRC32>", "</ChecksumCRC32>");
        assert!(checksums.eq(parts.values().map(|part| &part.0)), "other checksums: {listed}");
        let mut sizes = parts.values().rev().map(|part| part.1.len());
        assert!(sizes.next().is_some_and(|last| last > 0), "the last part is empty");
        assert!(sizes.all(|size| size >= 5 << 20), "a part is too small");
        Some(parts.into_values().flat_map(|part| part.1).collect())
    }
}

fn calls(proxy: &HttpProxy, operation: &str) -> Vec<Exchange> {
    let mut exchanges = proxy.exchanges();
    exchanges.retain(|exchange| exchange.call.operation == operation);
    exchanges
}

/// Returns the CRC32 that is stated of a part, and its bytes.
fn checksum_and_bytes(part: &Exchange) -> (String, Vec<u8>) {
    let body = part.request.body();
    if header(part, "content-encoding") != "aws-chunked" {
        return (header(part, CHECKSUM).to_owned(), body.to_vec());
    }
    let (mut framing, mut bytes) = (Framing::default(), Vec::new());
    framing.add(body.clone(), |data| bytes.extend_from_slice(&data)).unwrap();
    let [(name, checksum)] = framing.finish().unwrap().try_into().unwrap();
    assert_eq!(name, CHECKSUM);
    (checksum, bytes)
}

fn header<'a>(exchange: &'a Exchange, name: &str) -> &'a str {
    exchange.request.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn between<'a>(text: &'a str, start: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(start).skip(1).filter_map(move |rest| rest.split(end).next())
}
