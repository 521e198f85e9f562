//! Hosts with TLS: their certificates, and redirects between HTTP and HTTPS.

use std::sync::{Arc, Mutex};

use bdr_tests::raw_server::{RawHost, ok, redirect};
use bdr_tests::web::PIXELS;
use process_bdr_job::missing::Missing;
use process_bdr_job::remote::{Remote, Web};
use rcgen::{CertifiedKey, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey as ServerKey;
use shared::failure::Decision;

use crate::{NameServer, PUBLIC, fetch, listeners, web};

/// A resolver that returns one certificate and records the protocols of every client.
#[derive(Debug)]
struct Certificate {
    key: Arc<ServerKey>,
    protocols: Mutex<Vec<Vec<Vec<u8>>>>,
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<ServerKey>> {
        let protocols = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
        self.protocols.lock().unwrap().push(protocols);
        Some(Arc::clone(&self.key))
    }
}

/// Starts a host with a certificate for this name; its path `/to-http` redirects to `to`. Returns
/// it with the certificate and a web that resolves `host.example.org` to it.
fn host(name: &str, to: &str) -> (RawHost, Arc<Certificate>, Web) {
    let CertifiedKey { cert, signing_key } = self_signed(name);
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = ServerKey::from_der(vec![cert.der().clone()], key, &provider).unwrap();
    let certificate = Arc::new(Certificate { key: Arc::new(key), protocols: Mutex::default() });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&certificate) as _);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

    let (_, public) = listeners();
    let port = public.local_addr().unwrap().port();
    let to = redirect(to.as_bytes());
    let host = RawHost::at(public, Some(Arc::new(config)), move |path, stream| match path {
        "/to-http" => stream.write_all(&to),
        _ => stream.write_all(&ok("", PIXELS)),
    });
    let names = [("host.example.org", vec![vec![PUBLIC]])];
    (host, certificate, web(&NameServer::new(port, names)))
}

fn self_signed(name: &str) -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed([name.to_owned()]).unwrap()
}

async fn fetch_from_host(web: &Web) -> Result<Vec<u8>, Missing> {
    let remote = Remote::new(web.clone(), [].into());
    fetch(&remote, "https://host.example.org/").await
}

#[tokio::test]
async fn a_host_with_a_trusted_certificate_is_fetched_over_http_1() {
    let (host, certificate, mut web) = host("host.example.org", "");
    web.roots.add(certificate.key.cert[0].clone()).unwrap();
    assert_eq!(fetch_from_host(&web).await.as_deref(), Ok(PIXELS));
    assert_eq!(host.visits.of("/"), 1);
    let protocols = certificate.protocols.lock().unwrap().concat();
    assert!(!protocols.contains(&b"h2".to_vec()), "{protocols:?}");
}

#[tokio::test]
async fn a_self_signed_or_misnamed_certificate_gets_no_request() {
    let (unknown, _, web) = host("host.example.org", "");
    let (misnamed, certificate, mut web_of_misnamed) = host("other.example.org", "");
    web_of_misnamed.roots.add(certificate.key.cert[0].clone()).unwrap();
    for (host, web) in [(unknown, web), (misnamed, web_of_misnamed)] {
        let missing = fetch_from_host(&web).await.unwrap_err();
        assert_eq!(missing.decision, Decision::Fail, "it is the host's fault");
        assert_eq!(missing.reason(), "This artwork's file could not be downloaded.");
        assert!(missing.detail.unwrap().contains("certificate"));
        assert_eq!((host.connections(), host.visits.of("/")), (4, 0));
    }
}

#[tokio::test]
async fn redirects_from_http_to_https_and_back_are_followed() {
    let last = RawHost::start(|_, stream| stream.write_all(&ok("", PIXELS)));
    let (encrypted, certificate, mut web) = host("127.0.0.2", &last.url("/last"));
    let to = format!("https://{}/to-http", encrypted.authority);
    let first = RawHost::start(move |_, stream| stream.write_all(&redirect(to.as_bytes())));
    web.roots.add(certificate.key.cert[0].clone()).unwrap();
    let allowed = [&first, &encrypted, &last].map(|host| host.authority.clone());
    let remote = Remote::new(web, allowed.into());
    assert_eq!(fetch(&remote, &first.url("/")).await.as_deref(), Ok(PIXELS));
    assert_eq!((encrypted.visits.of("/to-http"), last.visits.of("/last")), (1, 1));
}
