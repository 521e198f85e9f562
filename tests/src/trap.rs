//! Listeners where nobody has business: they count who comes.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use local_stack::wait_until;

/// The ports that the table of refused URLs is about: the web's own, Lambda's runtime API, and some
/// of services that speak to whoever connects.
const PORTS: [u16; 6] = [80, 443, 9001, 8080, 8443, 6379];

/// Listeners on all addresses of this machine, at as many ports as can be had.
pub struct Trap {
    /// The ports it has.
    pub ports: Vec<u16>,
    connections: Arc<AtomicU32>,
}

impl Trap {
    /// Lays it, and sees that it catches.
    pub async fn lay() -> Self {
        let connections = Arc::new(AtomicU32::new(0));
        let mut ports = Vec::new();
        for port in PORTS {
            // `::` takes IPv4 too, where there is IPv6 at all.
            let listener =
                TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)));
            let Ok(listener) = listener else { continue };
            ports.push(port);
            let connections = Arc::clone(&connections);
            std::thread::spawn(move || {
                for _ in listener.incoming() {
                    connections.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let trap = Self { ports, connections };
        let mut expected = 0;
        for port in &trap.ports {
            TcpStream::connect(("127.0.0.2", *port)).unwrap();
            expected += 1;
        }
        wait_until("the trap to catch", Duration::from_secs(10), async || {
            Ok((trap.caught() == expected).then_some(()))
        })
        .await
        .unwrap();
        trap.connections.store(0, Ordering::Relaxed);
        trap
    }

    /// How many connections were made to it.
    #[must_use]
    pub fn caught(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }
}
