//! Endpoints, addressing and credentials: both clients send the same request to the same place.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use aws_credential_types::provider::future;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, ProvideCredentials, Region, SharedCredentialsProvider,
    SharedHttpClient,
};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use zip_to_s3::s3::{self, ErrorKind};

use super::signature;

/// An HTTP client that sends nothing and keeps what it should have sent.
#[derive(Debug, Clone, Default)]
struct Recorder {
    requests: Arc<Mutex<Vec<(String, Headers)>>>,
}

type Headers = Vec<(String, String)>;

impl Recorder {
    fn client(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(self.clone());
        http_client_fn(move |_, _| connector.clone())
    }

    fn take(&self) -> Vec<(String, Headers)> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

impl HttpConnector for Recorder {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.requests.lock().unwrap().push((request.uri().to_owned(), headers));
        HttpConnectorFuture::ready(Err(ConnectorError::user("not sent".into())))
    }
}

fn credentials(token: Option<&str>) -> Credentials {
    Credentials::new("AKIDEXAMPLE", "a/secret+key", token.map(str::to_owned), None, "test")
}

fn config(recorder: &Recorder, credentials: Credentials) -> Builder {
    aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-north-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(recorder.client())
}

#[tokio::test]
async fn every_endpoint_is_the_one_of_the_sdk() {
    const ACCESS_POINT: &str = "arn:aws:s3:eu-west-1:123456789012:accesspoint/mine";
    let recorder = Recorder::default();
    for token in [None, Some("a/session+token==")] {
        let base = || config(&recorder, credentials(token));
        for (name, config, bucket, expected) in [
            ("virtual host", base(), "vault", "https://vault.s3.eu-north-1.amazonaws.com/"),
            ("dots", base(), "my.vault", "https://s3.eu-north-1.amazonaws.com/my.vault/"),
            (
                "path",
                base().force_path_style(true),
                "vault",
                "https://s3.eu-north-1.amazonaws.com/vault/",
            ),
            ("FIPS", base().use_fips(true), "vault", "https://vault.s3-fips.eu-north-1."),
            ("dual-stack", base().use_dual_stack(true), "vault", "https://vault.s3.dualstack."),
            (
                "both",
                base().use_fips(true).use_dual_stack(true),
                "vault",
                "https://vault.s3-fips.dualstack.",
            ),
            ("accelerate", base().accelerate(true), "vault", "https://vault.s3-accelerate."),
            (
                "China",
                base().region(Region::new("cn-north-1")),
                "vault",
                "https://vault.s3.cn-north-1.amazonaws.com.cn/",
            ),
            (
                "access point",
                base().use_arn_region(true),
                ACCESS_POINT,
                "https://mine-123456789012.s3-accesspoint.eu-west-1.",
            ),
            ("custom", base().endpoint_url("http://host:9000"), "vault", "http://vault.host:9000/"),
            (
                "custom path",
                base().endpoint_url("http://127.0.0.1:80/a/b/").force_path_style(true),
                "vault",
                "http://127.0.0.1:80/a/b/vault/",
            ),
            (
                "IPv6",
                base().endpoint_url("https://[::1]:443").force_path_style(true),
                "vault",
                "https://[::1]:443/vault/",
            ),
        ] {
            let sdk = Client::from_conf(config.build());
            let lean = s3::Client::new(sdk.clone());
            let key = "a key/größe+~";
            assert!(sdk.get_object().bucket(bucket).key(key).send().await.is_err());
            let sent = lean.get(bucket, key, None, None).await.err().unwrap();
            assert_eq!(sent.kind(), ErrorKind::Setup, "{name}: {sent}");
            let requests = recorder.take();
            let [(sdk_url, _), (url, _)] = &requests[..] else { panic!("{name}: {sent}") };
            assert!(url.starts_with(expected), "{name}: {url}");
            assert_eq!(sdk_url.strip_suffix("?x-id=GetObject"), Some(url.as_str()), "{name}");
            for (url, headers) in &requests {
                signature::check("GET", url, headers, &credentials(token));
                let has_token = headers.iter().any(|header| header.0 == "x-amz-security-token");
                assert_eq!(has_token, token.is_some(), "{name}");
            }
            let scope = |at: usize| {
                let headers: &Headers = &requests[at].1;
                let authorization = headers.iter().find(|header| header.0 == "authorization");
                authorization.unwrap().1.split(',').next().unwrap().to_owned()
            };
            assert_eq!(scope(0), scope(1), "{name}");
        }
    }
}

#[tokio::test]
async fn what_is_signed_in_another_way_is_an_error() {
    let recorder = Recorder::default();
    // Of a session, which the SDK would create by a request.
    let session = SharedCredentialsProvider::new(credentials(Some("a session token")));
    let config = config(&recorder, credentials(None)).express_credentials_provider(session);
    let sdk = Client::from_conf(config.build());
    for bucket in ["arn:aws:s3::123456789012:accesspoint/mine.mrap", "zonal--eun1-az1--x-s3"] {
        let error = s3::Client::new(sdk.clone()).get(bucket, "k", None, None).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Setup, "{bucket}: {error}");
        assert!(recorder.take().is_empty(), "{bucket}");
    }
}

#[tokio::test]
async fn without_credentials_nothing_is_sent() {
    let recorder = Recorder::default();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-north-1"))
        .http_client(recorder.client());
    let lean = s3::Client::new(Client::from_conf(config.build()));
    let error = lean.get("vault", "k", None, None).await.err().unwrap();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Setup, false), "{error}");
    assert!(recorder.take().is_empty());
}

/// Provides other credentials each time, which are expired at once.
#[derive(Debug, Default)]
struct Rotating {
    calls: AtomicU32,
}

impl ProvideCredentials for Rotating {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let call = self.calls.fetch_add(1, Relaxed);
        let expiry = SystemTime::UNIX_EPOCH;
        let credentials = Credentials::new(
            format!("AKID{call}"),
            format!("secret {call}"),
            None,
            Some(expiry),
            "test",
        );
        future::ProvideCredentials::ready(Ok(credentials))
    }
}

#[tokio::test]
async fn credentials_are_refreshed_before_they_expire() {
    let recorder = Recorder::default();
    let config = config(&recorder, credentials(None));
    let config = config.credentials_provider(SharedCredentialsProvider::new(Rotating::default()));
    let lean = s3::Client::new(Client::from_conf(config.build()));
    for _ in 0..3 {
        assert!(lean.head("vault", "k").await.is_err());
    }
    let requests = recorder.take();
    assert_eq!(requests.len(), 3);
    let mut ids = Vec::new();
    for (url, headers) in &requests {
        let authorization = &headers.iter().find(|header| header.0 == "authorization").unwrap().1;
        let id = authorization.split(['=', '/']).nth(1).unwrap().to_owned();
        let secret = id.replace("AKID", "secret ");
        signature::check("HEAD", url, headers, &Credentials::new(&*id, secret, None, None, "test"));
        ids.push(id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "each request had its own credentials: {ids:?}");
}
