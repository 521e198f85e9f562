//! A wire to the database that can go silent, as a socket does while its owner is frozen.

use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A port that leads to another one, until it is cut.
pub struct Wire {
    /// Where to connect.
    pub port: u16,
    cut: Arc<watch::Sender<u32>>,
}

impl Wire {
    /// A wire to `target` on this machine, served by the current runtime.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(watch::Sender::new(0));
        let cuts = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut cuts = cuts.subscribe();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        // Neither end is told: both sockets stay open, and nothing passes.
                        _ = cuts.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { port, cut }
    }

    /// Silences the connections that there are. New ones work.
    pub fn go_silent(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}
