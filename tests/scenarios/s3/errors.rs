//! Errors, byte for byte: both clients read the same status and code, and make as many attempts.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use aws_config::timeout::TimeoutConfig;
use axum::body::Bytes;
use bdr_tests::raw_server::{RawHost, ok};
use local_stack::wait_until;
use shared::aws::Trust;
use shared::config::Environment;
use zip_to_s3::s3::{Client, ErrorKind, PartBytes, with_retries};

use super::ways::{ATTEMPTS, Trouble, Way};

const BUCKET: &str = "b";

/// Returns the SDK's client for a host.
fn sdk(host: &RawHost) -> aws_sdk_s3::Client {
    sdk_at(&host.url(""))
}

fn sdk_at(url: &str) -> aws_sdk_s3::Client {
    let environment = Environment::of([
        ("AWS_REGION", "eu-north-1"),
        ("AWS_ENDPOINT_URL", url),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]);
    let trust = Trust::from_environment(&environment).unwrap();
    shared::aws::s3(&shared::aws::from_environment(&environment, &trust), true)
}

/// Returns a response of S3 with an error.
fn error(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\
         x-amz-request-id: 4442587FB7D0A2F9\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

/// Returns a document of S3 with an error code.
fn document(code: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>A message.</Message><Resource>/b/k</Resource></Error>"
    )
}

/// The errors: the key that provokes each, the response, and whether it is transient.
fn errors() -> Vec<(&'static str, Vec<u8>, bool)> {
    let coded = |status, code| error(status, "", &document(code));
    let html = "<html><head><title>502</title></head><body><h1>Bad Gateway</h1></body></html>";
    vec![
        ("missing", coded("404 Not Found", "NoSuchKey"), false),
        ("no-bucket", coded("404 Not Found", "NoSuchBucket"), false),
        ("denied", coded("403 Forbidden", "AccessDenied"), false),
        ("archived", coded("403 Forbidden", "InvalidObjectState"), false),
        ("expired", coded("400 Bad Request", "ExpiredToken"), false),
        ("skewed", coded("403 Forbidden", "RequestTimeTooSkewed"), false),
        ("changed", coded("412 Precondition Failed", "PreconditionFailed"), false),
        ("range", coded("416 Range Not Satisfiable", "InvalidRange"), false),
        ("elsewhere", coded("301 Moved Permanently", "PermanentRedirect"), false),
        ("late", coded("400 Bad Request", "RequestTimeout"), true),
        ("slow-down", coded("503 Slow Down", "SlowDown"), true),
        ("slow-down-400", coded("400 Bad Request", "SlowDown"), true),
        ("internal", coded("500 Internal Server Error", "InternalError"), true),
        ("odd", coded("500 Internal Server Error", "SomethingElse"), true),
        ("no-body-403", error("403 Forbidden", "", ""), false),
        ("no-body-404", error("404 Not Found", "", ""), false),
        ("no-body-503", error("503 Service Unavailable", "", ""), true),
        ("no-code", error("403 Forbidden", "", "<Error><Message>m</Message></Error>"), false),
        ("nested", error("403 Forbidden", "", "<Error><Code><a/></Code></Error>"), false),
        ("escaped", coded("400 Bad Request", "A&amp;B"), false),
        ("html", error("502 Bad Gateway", "", html), true),
        ("broken-html", error("403 Forbidden", "", "<html><body>Forbidden<br></html>"), false),
        ("not-utf8", error("403 Forbidden", "", "\u{fffd}<"), false),
        ("json", error("429 Too Many Requests", "", r#"{"Code": "SlowDown"}"#), false),
    ]
}

/// Starts a host that answers with these responses, and otherwise closes the connection.
fn host(responses: Vec<(&'static str, Vec<u8>)>) -> RawHost {
    RawHost::start(move |path, out: &mut dyn Write| -> io::Result<()> {
        let key = path.split('?').next().unwrap().rsplit('/').next().unwrap();
        let found = responses.iter().find(|response| response.0 == key);
        out.write_all(found.map_or(&[][..], |response| &response.1))
    })
}

/// Returns the results of both clients with the number of their attempts.
async fn both<T>(
    host: &RawHost,
    request: impl AsyncFn(&Way) -> Result<T, Trouble>,
) -> [(Result<T, Trouble>, u32); 2] {
    let [sdk, lean] = Way::both(&sdk(host));
    let counted = async |way| {
        let before = host.connections();
        (request(way).await, host.connections() - before)
    };
    [counted(&sdk).await, counted(&lean).await]
}

#[tokio::test]
async fn errors_are_read_and_retried_as_the_sdk_does() {
    let host = host(errors().into_iter().map(|(key, response, _)| (key, response)).collect());
    for (key, _, is_transient) in errors() {
        let [sdk, lean] = both(&host, async |way| way.get(BUCKET, key, None, None).await).await;
        assert_eq!(sdk, lean, "{key}");
        assert_eq!(lean.1, if is_transient { ATTEMPTS } else { 1 }, "{key}");
        assert!(matches!(lean.0, Err(Trouble::Refused(Some(_), _))), "{key}: {lean:?}");
        let copy = async |way: &Way| way.copy_part(BUCKET, (key, "e"), None, key, "u", 1).await;
        let [sdk, lean] = both(&host, copy).await;
        assert_eq!(sdk, lean, "{key}");
    }
}

#[tokio::test]
async fn a_missing_object_without_a_body_has_the_code_of_the_sdk() {
    // The response to a HEAD has no body, whatever its length.
    let head = "HTTP/1.1 404 Not Found\r\ncontent-length: 300\r\nconnection: close\r\n\r\n";
    let host = host(vec![("missing", head.into())]);
    let [sdk, lean] = both(&host, async |way| way.head(BUCKET, "missing").await).await;
    assert_eq!(lean.0, Err(Trouble::Refused(Some(404), Some("NotFound".to_owned()))));
    assert_eq!(sdk, lean);
}

#[tokio::test]
async fn an_error_inside_a_200_is_an_error() {
    let result = "<?xml version=\"1.0\"?>\n  \n<CopyPartResult xmlns=\"http://s3.amazonaws.com/doc/\">\
                  <LastModified>2025-03-04T05:06:08Z</LastModified><ETag>&quot;9b2c&quot;</ETag>\
                  <ChecksumCRC32>AAAAAQ==</ChecksumCRC32></CopyPartResult>";
    let host = host(vec![
        ("internal", ok("", document("InternalError").as_bytes())),
        ("slow-down", ok("", document("SlowDown").as_bytes())),
        ("denied", ok("", document("AccessDenied").as_bytes())),
        ("copied", ok("", result.as_bytes())),
        ("neither", ok("", b"<html></html>")),
        ("nothing", ok("", b"")),
    ]);
    let copy = async |key| {
        let copy = async |way: &Way| way.copy_part(BUCKET, (key, "e"), None, key, "u", 1).await;
        both(&host, copy).await
    };
    for (key, code, attempts) in [
        ("internal", "InternalError", 2),
        ("slow-down", "SlowDown", 2),
        ("denied", "AccessDenied", 1),
    ] {
        let [sdk, lean] = copy(key).await;
        assert_eq!(sdk, lean, "{key}");
        assert_eq!(lean, (Err(Trouble::Refused(Some(200), Some(code.to_owned()))), attempts));
    }
    let [sdk, lean] = copy("copied").await;
    assert_eq!(sdk, lean);
    let part = lean.0.unwrap();
    assert_eq!((part.e_tag.as_deref(), part.has_crc32), (Some("\"9b2c\""), true));
    // The SDK accepts these as copies without an ETag.
    let lean = Client::new(self::sdk(&host));
    for key in ["neither", "nothing"] {
        let copied = lean.copy_part(BUCKET, key, "e", None, key, "u", 1).await;
        assert_eq!(copied.unwrap_err().kind(), ErrorKind::Unexpected, "{key}");
    }
}

#[tokio::test]
async fn a_connection_that_closes_is_an_error_at_the_same_place() {
    let broken = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\nconnection: close\r\n\r\n01234";
    let headless = b"HTTP/1.1 200 OK\r\ncontent-le";
    let host = host(vec![("broken", broken.to_vec()), ("headless", headless.to_vec())]);
    // No response at all for a key that the host does not know.
    for (key, trouble) in [
        ("broken", Trouble::Body),
        ("headless", Trouble::Refused(None, None)),
        ("silent", Trouble::Refused(None, None)),
    ] {
        let [sdk, lean] = both(&host, async |way| way.get(BUCKET, key, None, None).await).await;
        assert_eq!(sdk, lean, "{key}");
        // Neither client retries once the head of a response has arrived.
        let attempts = if trouble == Trouble::Body { 1 } else { ATTEMPTS };
        assert_eq!(lean, (Err(trouble), attempts), "{key}");
    }
}

#[tokio::test]
async fn the_body_must_have_the_checksum_of_the_object() {
    // CRC32 of "123456789".
    let with = |headers: &str, body: &[u8]| ok(headers, body);
    let right = "x-amz-checksum-crc32: y/Q5Jg==\r\nx-amz-checksum-type: FULL_OBJECT\r\n";
    let composite = "x-amz-checksum-crc32: y/Q5Jg==-2\r\nx-amz-checksum-type: COMPOSITE\r\n";
    let host = host(vec![
        ("right", with(right, b"123456789")),
        ("flipped", with(right, b"123456788")),
        ("untyped", with("x-amz-checksum-crc32: y/Q5Jg==\r\n", b"023456789")),
        ("composite", with(composite, b"123456788")),
        ("garbage", with("x-amz-checksum-crc32: *\r\n", b"123456788")),
        ("unknown", with("", b"123456788")),
    ]);
    for (key, is_refused) in [("right", false), ("flipped", true), ("untyped", true)] {
        let [sdk, lean] = both(&host, async |way| way.get(BUCKET, key, None, None).await).await;
        assert_eq!(sdk, lean, "{key}");
        assert_eq!(lean.0.err(), is_refused.then_some(Trouble::Body), "{key}");
    }
    let lean = Client::new(sdk(&host));
    for (key, crc32) in
        [("right", Some(0xCBF4_3926)), ("composite", None), ("garbage", None), ("unknown", None)]
    {
        let mut object = lean.get(BUCKET, key, None, None).await.unwrap().verified();
        assert_eq!(object.crc32, crc32, "{key}");
        while let Some(bytes) = object.body.next().await {
            bytes.unwrap();
        }
        assert_eq!(lean.head(BUCKET, key).await.unwrap().crc32, crc32, "{key}");
    }
}

#[tokio::test]
async fn a_range_is_the_one_requested() {
    let partial = |range: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 206 Partial Content\r\ncontent-length: {length}\r\nconnection: close\r\n\
             content-range: {range}\r\n\r\n{body}"
        )
        .into_bytes()
    };
    let host = host(vec![
        ("right", partial("bytes 2-4/10", "234")),
        ("to-the-end", partial("bytes 2-3/4", "23")),
        ("shifted", partial("bytes 3-5/10", "345")),
        ("short", partial("bytes 2-3/10", "23")),
        ("other-length", partial("bytes 2-4/10", "2345")),
        ("unknown-size", partial("bytes 2-4/*", "234")),
        ("ignored", ok("", b"0123456789")),
    ]);
    let lean = Client::new(sdk(&host));
    let get = async |key| {
        let object = lean.get(BUCKET, key, Some(2..5), None).await;
        object.map(|object| (object.range, object.size)).map_err(|error| error.kind())
    };
    assert_eq!(get("right").await, Ok((2..5, 10)));
    assert_eq!(get("to-the-end").await, Ok((2..4, 4)));
    for key in ["shifted", "short", "other-length", "unknown-size", "ignored"] {
        assert_eq!(get(key).await, Err(ErrorKind::Unexpected), "{key}");
    }
    let empty = lean.get(BUCKET, "right", Some(2..2), None).await;
    assert_eq!(empty.err().map(|error| error.kind()), Some(ErrorKind::Setup));
}

#[tokio::test]
async fn a_retry_waits_as_long_as_s3_asks() {
    let body = document("SlowDown");
    let host = host(vec![
        ("aws", error("503 Slow Down", "x-amz-retry-after: 1200\r\n", &body)),
        ("http", error("503 Slow Down", "retry-after: 7\r\n", &body)),
    ]);
    let lean = Client::new(sdk(&host));
    let started = Instant::now();
    let get = with_retries(2, || lean.get(BUCKET, "aws", None, None)).await.err().unwrap();
    assert!(get.is_transient() && get.is_throttling(), "{get}");
    assert!(started.elapsed() >= Duration::from_millis(1200), "{:?}", started.elapsed());
    assert_eq!(get.to_string(), "status 503, code SlowDown, request 4442587FB7D0A2F9");
    let get = lean.get(BUCKET, "http", None, None).await.err().unwrap();
    assert_eq!(get.retry_after(), Some(Duration::from_secs(7)));
}

/// Starts a host that answers any number of requests on a connection. Returns its authority and the
/// number of connections so far.
fn patient_host(
    responses: Vec<(&'static str, (&'static str, &'static str))>,
) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::<AtomicU32>::default());
    let counter = Arc::clone(&count);
    let serve = move |stream: TcpStream| -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut request = String::new();
            if stream.read_line(&mut request)? == 0 {
                return Ok(());
            }
            while stream.read_line(&mut String::new())? > 2 {}
            let found = responses.iter().find(|response| request.contains(response.0));
            let (status, body) = found.unwrap().1;
            let length = body.len();
            write!(
                stream.get_mut(),
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}"
            )?;
        }
    };
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            counter.fetch_add(1, Relaxed);
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    (address.to_string(), count)
}

#[tokio::test]
async fn a_server_in_trouble_is_left() {
    let slow_down = "<Error><Code>SlowDown</Code></Error>";
    let (authority, connections) = patient_host(vec![
        ("404", ("404 Not Found", "")),
        ("503", ("503 Slow Down", slow_down)),
        ("500", ("500 Internal Server Error", "")),
    ]);
    // Each client opens its own connections.
    let both = || Way::both(&sdk_at(&format!("http://{authority}")));
    let ([sdk, _], [_, lean]) = (both(), both());
    for way in [sdk, lean] {
        let mut counts = Vec::new();
        for key in ["404", "503", "404", "500", "404"] {
            let before = connections.load(Relaxed);
            assert!(way.get_once(BUCKET, key).await.is_err());
            counts.push(connections.load(Relaxed) - before);
        }
        // The first request opens a connection, and the one after a fault of the server.
        assert_eq!(counts, [1, 0, 0, 0, 1]);
    }
}

/// Bytes of a part, whose segments are counted.
struct Counted(Arc<Vec<u8>>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[tokio::test]
async fn a_server_that_does_not_read_a_part_does_not_keep_its_bytes() {
    let host = RawHost::start(|_, _| {
        loop {
            std::thread::park();
        }
    });
    let limits = TimeoutConfig::builder().read_timeout(Duration::from_millis(300)).build();
    let sdk = sdk(&host).config().to_builder().timeout_config(limits).build();
    let lean = Client::new(aws_sdk_s3::Client::from_conf(sdk));
    let released = async |is_filled: bool| {
        let (part, bytes) = (PartBytes::default(), Arc::new(vec![0; 1 << 20]));
        // More than the buffers of a connection hold.
        for _ in 0..32 {
            part.push(Bytes::from_owner(Counted(Arc::clone(&bytes))));
        }
        if is_filled {
            part.complete(0);
        }
        let sent = lean.upload_filling_part(BUCKET, "k", "u", 1, 32 << 20, &part).await;
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(part.withdraw().len(), 32, "the part can be sent again");
        let is_released = async || Ok((Arc::strong_count(&bytes) == 1).then_some(()));
        let what = "the connection releasing the bytes";
        wait_until(what, Duration::from_mins(3), is_released).await.unwrap();
    };
    tokio::join!(released(false), released(true));
}
