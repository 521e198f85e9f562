//! Objects and parts of the stand-in.

use std::sync::Arc;

use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use axum::body::Bytes;
use bdr_tests::proxy::HttpProxy;
use bdr_tests::{Scenario, scenario};
use zip_to_s3::s3::PartBytes;

use super::signature;
use super::ways::{Got, Trouble, Way, crc32};

/// Keys that are encoded, or could be mistaken for something else.
const ODD_KEYS: [&str; 16] = [
    "plain.png",
    "with space.png",
    "plus+and&and=and?and#.png",
    "percent%20encoded%2F.png",
    "größe/日本語/🎨.png",
    "a//b",
    "/leading",
    "trailing/",
    "~tilde_-.",
    "a/./b",
    "a/../b",
    "..",
    "quotes'\"<>.png",
    "back\\slash|pipe^",
    "!*'();:@,$[]{}",
    "tab\tand\u{7f}",
];

/// Returns both clients, which call the stack through the proxy.
fn ways(s: &Scenario, proxy: &HttpProxy) -> [Way; 2] {
    let config = proxy.sdk_config(s.stack).into_builder();
    let credentials = SharedCredentialsProvider::new(credentials());
    let config = config.credentials_provider(credentials).build();
    Way::both(&shared::aws::s3(&config, true))
}

fn credentials() -> Credentials {
    Credentials::new("id", "a/secret+key", Some("a/session+token==".to_owned()), None, "test")
}

/// Checks all requests so far: those of both clients have the same paths, and valid signatures.
fn check_requests(proxy: &HttpProxy) {
    for exchange in proxy.exchanges() {
        let url = format!("{}{}", proxy.endpoint(), exchange.request.uri());
        let headers = exchange.request.headers().iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let method = exchange.request.method().as_str();
        signature::check(method, &url, &headers, &credentials());
    }
}

#[test]
fn an_odd_key_is_the_same_key_for_both_clients() {
    scenario(async |s| {
        let proxy = HttpProxy::start(Arc::default(), s.stack.endpoint(), "").await.unwrap();
        for way in ways(&s, &proxy) {
            for key in ODD_KEYS {
                // The stand-in does not support every key; both clients must see the same of it.
                let _ = way.get(s.bucket(), key, None, None).await;
                let _ = way.head(s.bucket(), key).await;
                let _ = way.upload_part(s.bucket(), key, "u p+l/o=ad", 7, Bytes::new()).await;
                let source = (key, "\"e\"");
                let _ = way.copy_part(s.bucket(), source, None, key, "u p+l/o=ad", 7).await;
            }
        }
        check_requests(&proxy);
        let seen: Vec<_> = proxy.exchanges();
        let (sdk, lean) = seen.split_at(seen.len() / 2);
        assert_eq!(sdk.len(), ODD_KEYS.len() * 4);
        for (sdk, lean) in sdk.iter().zip(lean) {
            let query = |uri: &axum::http::Uri| {
                let pairs = uri.query().unwrap_or_default().split('&');
                let pairs = pairs.filter(|pair| !pair.is_empty() && !pair.starts_with("x-id="));
                pairs.map(str::to_owned).collect::<Vec<_>>()
            };
            let (sdk, lean) = (&sdk.request, &lean.request);
            assert_eq!(sdk.method(), lean.method());
            assert_eq!(sdk.uri().path(), lean.uri().path());
            assert_eq!(query(sdk.uri()), query(lean.uri()));
            let source = "x-amz-copy-source";
            assert_eq!(sdk.headers().get(source), lean.headers().get(source));
        }
    });
}

#[test]
fn objects_ranges_and_conditions_are_the_same_for_both_clients() {
    scenario(async |s| {
        let proxy = HttpProxy::start(Arc::default(), s.stack.endpoint(), "").await.unwrap();
        let key = |name: &str| format!("{}/größe {name}+", s.user_sqid);
        s.put(&key("whole"), b"0123456789").await;
        s.put(&key("empty"), b"").await;
        let bucket = s.bucket();
        let mut results = Vec::new();
        for way in ways(&s, &proxy) {
            let whole = way.get(bucket, &key("whole"), None, None).await.unwrap();
            assert_eq!(whole.bytes, b"0123456789");
            let e_tag = whole.e_tag.clone();
            let object = key("whole");
            let range = |range| way.get(bucket, &object, Some(range), e_tag.as_deref());
            let gets = vec![
                Ok(Got { e_tag: e_tag.clone(), bytes: whole.bytes }),
                range(2..5).await,
                range(0..1).await,
                range(5..100).await,
                range(10..12).await,
                way.get(bucket, &key("empty"), None, None).await,
                way.get(bucket, &key("empty"), Some(0..1), None).await,
                way.get(bucket, &key("missing"), None, None).await,
                way.get(bucket, &key("whole"), None, Some("\"another\"")).await,
                way.get("no-such-bucket", &key("whole"), None, None).await,
            ];
            assert_eq!(gets[1].as_ref().unwrap().bytes, b"234");
            assert_eq!(gets[3].as_ref().unwrap().bytes, b"56789");
            let missing = Trouble::Refused(Some(404), Some("NoSuchKey".to_owned()));
            assert_eq!(gets[7], Err(missing));
            let changed = Trouble::Refused(Some(412), Some("PreconditionFailed".to_owned()));
            assert_eq!(gets[8], Err(changed));
            let heads = vec![
                way.head(bucket, &key("whole")).await,
                way.head(bucket, &key("empty")).await,
                way.head(bucket, &key("missing")).await,
            ];
            results.push((gets, heads));
        }
        assert_eq!(results[0], results[1]);
        check_requests(&proxy);
    });
}

#[test]
fn parts_of_both_clients_make_the_same_object() {
    scenario(async |s| {
        let proxy = HttpProxy::start(Arc::default(), s.stack.endpoint(), "").await.unwrap();
        let source = format!("{}/a source", s.user_sqid);
        let large = vec![7; 6 << 20];
        s.put(&source, &large).await;
        let e_tag = s.s3.head_object().bucket(s.bucket()).key(&source).send().await.unwrap().e_tag;
        let e_tag = e_tag.unwrap();
        let mut results = Vec::new();
        for way in ways(&s, &proxy) {
            let key = format!("{}/a zip {}", s.user_sqid, results.len());
            let target = s.s3.create_multipart_upload().bucket(s.bucket()).key(&key);
            let created = target.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await.unwrap();
            let id = created.upload_id.unwrap();
            let bucket = s.bucket();
            let first = Bytes::from(vec![1; 5 << 20]);
            let parts = [
                way.upload_part(bucket, &key, &id, 1, first).await.unwrap(),
                way.copy_part(bucket, (&source, &e_tag), None, &key, &id, 2).await.unwrap(),
                way.copy_part(bucket, (&source, &e_tag), Some(3..9), &key, &id, 3).await.unwrap(),
            ];
            let stale = way.copy_part(bucket, (&source, "\"old\""), None, &key, &id, 4).await;
            let refused = way.upload_part(bucket, &key, "none", 1, Bytes::new()).await;
            let numbered = parts.iter().zip(1..).map(|(part, number)| {
                let part = CompletedPart::builder().set_e_tag(part.e_tag.clone());
                part.part_number(number).build()
            });
            let completed = CompletedMultipartUpload::builder().set_parts(Some(numbered.collect()));
            let complete = s.s3.complete_multipart_upload().bucket(bucket).key(&key);
            let complete = complete.upload_id(&id).multipart_upload(completed.build());
            complete.send().await.unwrap();
            let whole = way.get(bucket, &key, None, None).await.unwrap().bytes;
            let expected = [&vec![1; 5 << 20][..], &large, &large[3..9]].concat();
            assert!(whole == expected, "the object has other bytes");
            results.push((parts, stale, refused));
        }
        assert_eq!(results[0], results[1]);
        check_requests(&proxy);
    });
}

#[test]
fn a_part_is_sent_while_it_fills() {
    scenario(async |s| {
        let proxy = HttpProxy::start(Arc::default(), s.stack.endpoint(), "").await.unwrap();
        let [_, Way::Lean(client)] = ways(&s, &proxy) else { panic!() };
        let (bucket, key) = (s.bucket(), format!("{}/a zip+", s.user_sqid));
        let created = s.s3.create_multipart_upload().bucket(bucket).key(&key);
        let created = created.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await.unwrap();
        let id = created.upload_id.unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        // Each has another size than its bytes, another CRC32, or neither.
        let send = async |size: usize, crc32: u32| {
            let part = PartBytes::default();
            let filling = async {
                for piece in bytes.chunks(100_000) {
                    part.push(Bytes::copy_from_slice(piece));
                    tokio::task::yield_now().await;
                }
                part.complete(crc32);
            };
            let sending = client.upload_filling_part(bucket, &key, &id, 1, size as u64, &part);
            tokio::join!(sending, filling).0
        };
        let crc32 = crc32(&bytes);
        assert!(send(bytes.len() - 1, crc32).await.is_err());
        assert!(send(bytes.len() + 1, crc32).await.is_err());
        let changed = send(bytes.len(), crc32 ^ 1).await.unwrap_err();
        assert_eq!((changed.status(), changed.code()), (Some(400), Some("BadDigest")));
        let part = send(bytes.len(), crc32).await.unwrap().completed();
        let completed = CompletedMultipartUpload::builder().parts(part).build();
        let complete = s.s3.complete_multipart_upload().bucket(bucket).key(&key);
        complete.upload_id(&id).multipart_upload(completed).send().await.unwrap();
        let whole = Way::Lean(client.clone()).get(bucket, &key, None, None).await.unwrap().bytes;
        assert!(whole == bytes, "the object has other bytes");
        check_requests(&proxy);
    });
}
