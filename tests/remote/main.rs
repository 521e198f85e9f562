//! The client for artworks on the web, in a web that the test controls: it resolves the names, and
//! 127.0.0.1 counts as private, 127.0.0.2 as public.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this is test code: a panic reports what is wrong"
)]

mod encryption;
mod names;
mod proxies;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use process_bdr_job::missing::Missing;
use process_bdr_job::remote::{Remote, Session, TryError, Web};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// For each name the answers in order; the last one repeats.
type Answers = HashMap<&'static str, Vec<Vec<IpAddr>>>;

/// A name server that the test controls.
#[derive(Clone)]
struct NameServer {
    answers: Arc<Mutex<Answers>>,
    /// Port of the hosts. A DNS name has no port, but a resolver of reqwest may set one.
    port: u16,
}

impl NameServer {
    fn new<const N: usize>(port: u16, answers: [(&'static str, Vec<Vec<IpAddr>>); N]) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into())), port }
    }

    /// Returns how many answers for a name are left.
    fn left(&self, name: &str) -> usize {
        self.answers.lock().unwrap()[name].len()
    }
}

impl Resolve for NameServer {
    fn resolve(&self, name: Name) -> Resolving {
        let mut answers = self.answers.lock().unwrap();
        let answers = answers.get_mut(name.as_str()).expect("a name of the test's");
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        let port = self.port;
        let addresses = answer.into_iter().map(move |address| SocketAddr::new(address, port));
        Box::pin(async move { Ok(Box::new(addresses) as Addrs) })
    }
}

/// Returns a web with these names.
fn web(names: &NameServer) -> Web {
    Web {
        resolver: Arc::new(names.clone()),
        is_public: |address| address == PUBLIC,
        ..Web::default()
    }
}

/// Returns a private and a public listener on the same port.
fn listeners() -> (TcpListener, TcpListener) {
    (0..100)
        .find_map(|_| {
            let private = TcpListener::bind((PRIVATE, 0)).unwrap();
            let public = TcpListener::bind((PUBLIC, private.local_addr().unwrap().port())).ok()?;
            Some((private, public))
        })
        .expect("a port that is free on both addresses")
}

/// Fetches an artwork as the function does.
async fn fetch(remote: &Remote, url: &str) -> Result<Vec<u8>, Missing> {
    let session = remote.session().unwrap();
    let mut retries = 0..3;
    loop {
        match fetch_once(&session, url).await {
            Err(TryError::Unusable(_) | TryError::Unavailable { .. })
                if retries.next().is_some() => {}
            result => return result.map_err(TryError::into_missing),
        }
    }
}

async fn fetch_once(session: &Session, url: &str) -> Result<Vec<u8>, TryError> {
    let mut opened = session.get(url.parse().unwrap()).await?;
    let mut whole = Vec::new();
    while let Some(chunk) = opened.chunk().await? {
        whole.extend_from_slice(&chunk);
    }
    Ok(whole)
}
