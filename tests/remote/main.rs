//! The client for artworks on the web, alone, in a web of the test's own: names lead where the test
//! says, 127.0.0.1 counts as private and 127.0.0.2 as public.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this is test code: a panic is how it says what is wrong"
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

/// For each name the answers in turn; the last one stays.
type Answers = HashMap<&'static str, Vec<Vec<IpAddr>>>;

/// A name server under the test's control.
#[derive(Clone)]
struct NameServer {
    answers: Arc<Mutex<Answers>>,
    /// Where the hosts listen: names say nothing about ports, but a resolver may.
    port: u16,
}

impl NameServer {
    fn new<const N: usize>(port: u16, answers: [(&'static str, Vec<Vec<IpAddr>>); N]) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into())), port }
    }

    /// How many answers of a name were not given yet.
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

/// The web of these names.
fn web(names: &NameServer) -> Web {
    Web {
        resolver: Arc::new(names.clone()),
        is_public: |address| address == PUBLIC,
        ..Web::default()
    }
}

/// A private and a public listener at the same port.
fn listeners() -> (TcpListener, TcpListener) {
    (0..100)
        .find_map(|_| {
            let private = TcpListener::bind((PRIVATE, 0)).unwrap();
            let public = TcpListener::bind((PUBLIC, private.local_addr().unwrap().port())).ok()?;
            Some((private, public))
        })
        .expect("a port that is free on both addresses")
}

/// An artwork, fetched as the function does.
async fn fetch(remote: &Remote, url: &str) -> Result<Vec<u8>, Missing> {
    let session = remote.session().unwrap();
    let mut tries = 0..4;
    loop {
        match fetch_once(&session, url).await {
            Err(TryError::Unusable(_) | TryError::Unavailable { .. }) if tries.next().is_some() => {
            }
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
