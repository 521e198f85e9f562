//! Names whose address changes, and names with several addresses.

use bdr_tests::raw_server::{RawHost, ok, redirect};
use bdr_tests::web::PIXELS;
use process_bdr_job::remote::Remote;
use shared::failure::Decision;

use crate::{NameServer, PRIVATE, PUBLIC, fetch, listeners, web};

/// Starts a private and a public host on the same port. Returns them and the port.
fn hosts() -> (RawHost, RawHost, u16) {
    let (private, public) = listeners();
    let port = private.local_addr().unwrap().port();
    let private = RawHost::at(private, None, |_, stream| stream.write_all(&ok("", b"secret")));
    let public = RawHost::at(public, None, |path, stream| match path {
        "/cut" => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut"),
        "/to-private" => stream.write_all(&redirect(b"http://private.example.org/")),
        "/to-public" => stream.write_all(&redirect(b"//other.example.org/a")),
        _ => stream.write_all(&ok("", PIXELS)),
    });
    (private, public, port)
}

#[tokio::test]
async fn the_client_connects_to_the_address_that_was_checked() {
    let (private, public, port) = hosts();
    let names =
        NameServer::new(port, [("changing.example.org", vec![vec![PUBLIC], vec![PRIVATE]])]);
    let remote = Remote::new(web(&names), [].into());
    let first = fetch(&remote, "http://changing.example.org/").await;
    assert_eq!(first.as_deref(), Ok(PIXELS));
    assert_eq!(names.left("changing.example.org"), 1, "the name is resolved once");
    assert_eq!((private.connections(), public.connections()), (0, 1));
}

#[tokio::test]
async fn a_name_that_turns_private_between_tries_is_rejected() {
    let (private, public, port) = hosts();
    let names =
        NameServer::new(port, [("changing.example.org", vec![vec![PUBLIC], vec![PRIVATE]])]);
    let remote = Remote::new(web(&names), [].into());
    let missing = fetch(&remote, "http://changing.example.org/cut").await.unwrap_err();
    assert_eq!(missing.decision, Decision::Fail);
    assert_eq!(missing.reason(), "This artwork's file could not be downloaded.");
    assert_eq!((private.connections(), public.connections()), (0, 1));
}

#[tokio::test]
async fn a_name_with_one_private_address_is_rejected() {
    let (private, public, port) = hosts();
    for both in [vec![PUBLIC, PRIVATE], vec![PRIVATE, PUBLIC], vec![PRIVATE]] {
        let names = NameServer::new(port, [("both.example.org", vec![both])]);
        let remote = Remote::new(web(&names), [].into());
        let missing = fetch(&remote, "http://both.example.org/").await.unwrap_err();
        assert_eq!(missing.decision, Decision::Fail);
        assert_eq!(missing.reason(), "This artwork's file could not be downloaded.");
    }
    assert_eq!((private.connections(), public.connections()), (0, 0));
}

#[tokio::test]
async fn every_name_of_a_redirect_chain_is_checked() {
    let (private, public, port) = hosts();
    let names = NameServer::new(
        port,
        [
            ("public.example.org", vec![vec![PUBLIC]]),
            ("other.example.org", vec![vec![PUBLIC]]),
            ("private.example.org", vec![vec![PRIVATE]]),
        ],
    );
    let remote = Remote::new(web(&names), [].into());
    let arrived = fetch(&remote, "http://public.example.org/to-public").await;
    assert_eq!(arrived.as_deref(), Ok(PIXELS));
    let missing = fetch(&remote, "http://public.example.org/to-private").await.unwrap_err();
    assert_eq!(missing.decision, Decision::Fail);
    assert_eq!(private.connections(), 0);
    assert_eq!(public.visits.of("/to-private"), 1);
}
