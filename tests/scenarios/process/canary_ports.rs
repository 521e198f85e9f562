//! Ports to which no function may connect.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use local_stack::wait_until;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The port of Lambda's runtime API. Owning it excludes other tests on this machine.
const FIRST: u16 = 9001;
/// Further ports in the table of refused URLs: those of the web, which need privileges, and those of
/// some services that accept commands from any client. The last one is that of a collector of traces.
const OTHERS: [u16; 6] = [80, 443, 8080, 8443, 6379, 4318];
/// Longest wait for another test to release the ports, and for a connection to be counted.
const PATIENCE: Duration = Duration::from_mins(1);

/// Listeners on all addresses of this machine, on as many of the ports as are free, until dropped.
pub(super) struct CanaryPorts {
    /// The ports that are watched.
    pub(super) ports: Vec<u16>,
    /// The ports of the clients that connected.
    clients: Arc<Mutex<Vec<u16>>>,
    _listeners: JoinSet<()>,
}

impl CanaryPorts {
    /// Starts to listen.
    pub(super) async fn listen() -> Self {
        let first =
            wait_until("port 9001 becoming free", PATIENCE, async || match listener(FIRST).await {
                Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(None),
                listener => Ok(Some(listener?)),
            });
        let (mut opened, clients) = (vec![(FIRST, first.await.unwrap())], Arc::default());
        for port in OTHERS {
            opened.extend(listener(port).await.map(|listener| (port, listener)));
        }
        let ports = opened.iter().map(|(port, _)| *port).collect();
        let watch = |(_, listener): (_, TcpListener)| {
            let clients: Arc<Mutex<Vec<u16>>> = Arc::clone(&clients);
            async move {
                while let Ok((_, client)) = listener.accept().await {
                    clients.lock().unwrap().push(client.port());
                }
            }
        };
        let listeners = opened.into_iter().map(watch).collect();
        Self { ports, clients, _listeners: listeners }
    }

    /// Returns the number of connections so far. It connects to every port itself: once these
    /// connections are counted, all earlier ones are too.
    pub(super) async fn connections(&self) -> usize {
        let mut own = Vec::new();
        for port in &self.ports {
            own.push(TcpStream::connect(("127.0.0.1", *port)).await.unwrap());
        }
        let own: Vec<_> = own.iter().map(|stream| stream.local_addr().unwrap().port()).collect();
        let counted = wait_until("the count of connections", PATIENCE, async || {
            let clients = self.clients.lock().unwrap();
            Ok(own.iter().all(|port| clients.contains(port)).then_some(()))
        });
        counted.await.unwrap();
        let mut clients = self.clients.lock().unwrap();
        clients.retain(|port| !own.contains(port));
        clients.len()
    }
}

/// Listens on `::`, which includes IPv4, or without IPv6 on `0.0.0.0`.
async fn listener(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind(("::", port)).await {
        Err(error) if error.kind() != ErrorKind::AddrInUse => {
            TcpListener::bind(("0.0.0.0", port)).await
        }
        listener => listener,
    }
}
