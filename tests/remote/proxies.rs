//! Proxies in the environment.

use std::process::Command;

use bdr_tests::raw_server::{RawHost, ok};
use bdr_tests::web::PIXELS;
use process_bdr_job::remote::{Remote, Web};

use crate::fetch;

/// Variable that names the host to fetch from, for the process with proxies in its environment.
const HOST: &str = "TEST_HOST";

#[test]
fn proxies_in_the_environment_are_ignored() {
    let host = RawHost::start(|_, stream| stream.write_all(&ok("", PIXELS)));
    let proxy = RawHost::start(|_, stream| stream.write_all(&ok("", b"from the proxy")));
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "proxies::fetches_with_proxies_in_the_environment", "--ignored"]);
    test.env(HOST, &host.authority);
    for scheme in ["http", "https", "all"] {
        test.env(format!("{scheme}_proxy"), proxy.url(""));
        test.env(format!("{}_PROXY", scheme.to_uppercase()), proxy.url(""));
    }
    for name in ["no_proxy", "NO_PROXY", "REQUEST_METHOD"] {
        test.env_remove(name);
    }
    let output = test.output().unwrap();
    let output = String::from_utf8_lossy(&output.stdout);
    assert!(output.contains("1 passed"), "{output}");
    assert_eq!((host.connections(), proxy.connections()), (1, 0));
}

#[tokio::test]
#[ignore = "run by the test above in its own process"]
#[expect(clippy::disallowed_methods, reason = "the other test passes the host in the environment")]
async fn fetches_with_proxies_in_the_environment() {
    let authority = std::env::var(HOST).unwrap();
    let remote = Remote::new(Web::default(), [authority.clone()].into());
    assert_eq!(fetch(&remote, &format!("http://{authority}/")).await.as_deref(), Ok(PIXELS));
    // Rejected, and not sent to a proxy.
    for url in ["http://127.0.0.1/", "http://localhost/"] {
        fetch(&remote, url).await.unwrap_err();
    }
}
