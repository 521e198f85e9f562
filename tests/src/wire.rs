//! A wire to a server on this machine that can go silent, as a socket does while its owner is frozen, and
//! that counts how often the client waits for an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::io::InspectReader;

/// A port that leads to another one, until it is cut.
pub struct Wire {
    /// Where to connect.
    pub port: u16,
    cut: Arc<watch::Sender<u32>>,
    round_trips: Arc<AtomicUsize>,
}

impl Wire {
    /// A wire to `target` on this machine, served by the current runtime.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(watch::Sender::new(0));
        let round_trips = Arc::new(AtomicUsize::new(0));
        let (cuts, counted) = (Arc::clone(&cut), Arc::clone(&round_trips));
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut cuts, counted) = (cuts.subscribe(), Arc::clone(&counted));
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                    tokio::select! {
                        () = join(&mut near, &mut far, &counted) => {}
                        // Neither end is told: both sockets stay open, and nothing passes.
                        _ = cuts.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { port, cut, round_trips }
    }

    /// A wire to the database at `url`, and its URL by the wire.
    pub async fn to_database(url: &str) -> (Self, String) {
        let server = url.parse::<tokio_postgres::Config>().unwrap().get_ports()[0];
        let wire = Self::to(server).await;
        let wired = url.replace(&format!(":{server}/"), &format!(":{}/", wire.port));
        assert_ne!(wired, url);
        (wire, wired)
    }

    /// Silences the connections that there are. New ones work.
    pub fn go_silent(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    /// How often, on any connection, an answer has followed something that was said.
    #[must_use]
    pub fn round_trips(&self) -> usize {
        self.round_trips.load(Ordering::Relaxed)
    }
}

async fn join(near: &mut TcpStream, far: &mut TcpStream, round_trips: &AtomicUsize) {
    let is_asked = AtomicBool::new(false);
    let mut near = InspectReader::new(near, |bytes: &[u8]| {
        is_asked.fetch_or(!bytes.is_empty(), Ordering::Relaxed);
    });
    let mut far = InspectReader::new(far, |bytes: &[u8]| {
        if !bytes.is_empty() && is_asked.swap(false, Ordering::Relaxed) {
            round_trips.fetch_add(1, Ordering::Relaxed);
        }
    });
    // A connection that breaks is its ends' to notice.
    let _ = copy_bidirectional(&mut near, &mut far).await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::Wire;

    #[tokio::test]
    async fn a_silent_wire_tells_neither_end_that_it_is_cut() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Wire::to(server.local_addr().unwrap().port()).await;
        let mut near = TcpStream::connect(("127.0.0.1", wire.port)).await.unwrap();
        let (mut far, _) = server.accept().await.unwrap();
        near.write_all(b"?").await.unwrap();
        far.read_exact(&mut [0]).await.unwrap();
        far.write_all(b"!").await.unwrap();
        near.read_exact(&mut [0]).await.unwrap();
        assert_eq!(wire.round_trips(), 1);

        wire.go_silent();
        near.write_all(b"?").await.unwrap();
        // An end of the stream would be read at once.
        let silence = Duration::from_millis(200);
        assert!(timeout(silence, far.read(&mut [0])).await.is_err());
        assert!(timeout(silence, near.read(&mut [0])).await.is_err());
    }
}
