//! Listeners where nobody has business: they count who comes.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use local_stack::wait_until;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Where Lambda's runtime API listens. One trap at a time is laid on a machine, by who has this one.
const FIRST: u16 = 9001;
/// Further ports of the table of refused URLs: the web's own, for which it takes privileges, and some
/// of services that speak to whoever connects.
const OTHERS: [u16; 5] = [80, 443, 8080, 8443, 6379];
/// Longest wait for another trap to go, and for this one to catch.
const PATIENCE: Duration = Duration::from_mins(1);

/// Listeners on all addresses of this machine, at as many ports as can be had, until it is dropped.
pub struct Trap {
    /// The ports it has.
    pub ports: Vec<u16>,
    /// The ports from which connections came.
    visitors: Arc<Mutex<Vec<u16>>>,
    listeners: JoinSet<()>,
}

impl Trap {
    /// Lays it.
    pub async fn lay() -> Self {
        let first =
            wait_until("port 9001 to be free", PATIENCE, async || match listen(FIRST).await {
                Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(None),
                listener => Ok(Some(listener?)),
            });
        let mut trap =
            Self { ports: Vec::new(), visitors: Arc::default(), listeners: JoinSet::new() };
        trap.watch(FIRST, first.await.unwrap());
        for port in OTHERS {
            if let Ok(listener) = listen(port).await {
                trap.watch(port, listener);
            }
        }
        trap
    }

    fn watch(&mut self, port: u16, listener: TcpListener) {
        self.ports.push(port);
        let visitors = Arc::clone(&self.visitors);
        self.listeners.spawn(async move {
            while let Ok((_, visitor)) = listener.accept().await {
                visitors.lock().unwrap().push(visitor.port());
            }
        });
    }

    /// How many connections were made to it. Makes one itself to every port: when those were seen,
    /// so were all before them.
    pub async fn caught(&self) -> usize {
        let mut own = Vec::new();
        for port in &self.ports {
            own.push(TcpStream::connect(("127.0.0.1", *port)).await.unwrap());
        }
        let own: Vec<_> = own.iter().map(|stream| stream.local_addr().unwrap().port()).collect();
        wait_until("the trap to catch", PATIENCE, async || {
            let visitors = self.visitors.lock().unwrap();
            Ok(own.iter().all(|port| visitors.contains(port)).then_some(()))
        })
        .await
        .unwrap();
        let mut visitors = self.visitors.lock().unwrap();
        visitors.retain(|port| !own.contains(port));
        visitors.len()
    }
}

/// `::` takes IPv4 too, where there is IPv6 at all.
async fn listen(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind(("::", port)).await {
        Err(error) if error.kind() != ErrorKind::AddrInUse => {
            TcpListener::bind(("0.0.0.0", port)).await
        }
        listener => listener,
    }
}
