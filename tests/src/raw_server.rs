//! A web host whose answers a test writes byte for byte, as no web framework can.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::web::Visits;

/// A host on this machine with a thread for each connection, until the process ends.
pub struct RawHost {
    /// The host and the port.
    pub authority: String,
    /// The number of requests for each path.
    pub visits: Visits,
    connections: Arc<AtomicU32>,
}

impl RawHost {
    /// Starts a host on a free port. `answer` gets the path of a request; when it returns, the
    /// connection closes.
    #[must_use]
    pub fn start(
        answer: impl Fn(&str, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").unwrap(), None, answer)
    }

    /// Starts a host at this listener, with TLS if there is a configuration for it.
    #[must_use]
    pub fn at(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&str, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let authority = listener.local_addr().unwrap().to_string();
        let (visits, connections) = (Visits::default(), Arc::<AtomicU32>::default());
        let host =
            Self { authority, visits: visits.clone(), connections: Arc::clone(&connections) };
        let serve = Arc::new(move |mut stream: BufReader<Box<dyn ReadWrite>>| {
            let mut request = String::new();
            stream.read_line(&mut request)?;
            while stream.read_line(&mut String::new())? > 2 {} // up to the empty line
            let Some(path) = request.split(' ').nth(1) else { return Ok(()) };
            visits.count(path);
            answer(path, stream.get_mut())?;
            stream.get_mut().flush()
        });
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Relaxed);
                let tls = tls.clone().map(|tls| ServerConnection::new(tls).unwrap());
                let stream: Box<dyn ReadWrite> = match tls {
                    None => Box::new(stream),
                    Some(tls) => Box::new(StreamOwned::new(tls, stream)),
                };
                let serve = Arc::clone(&serve);
                // An error means that the client has gone.
                std::thread::spawn(move || serve(BufReader::new(stream)));
            }
        });
        host
    }

    /// Returns the number of connections so far.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// Returns the URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }
}

/// A connection, encrypted or not.
trait ReadWrite: Read + Write + Send {}
impl<T: Read + Write + Send> ReadWrite for T {}

/// Returns a complete answer with these further headers, each ended by CR LF.
#[must_use]
pub fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n");
    [head.as_bytes(), headers.as_bytes(), b"\r\n", body].concat()
}

/// Returns a redirect.
#[must_use]
pub fn redirect(location: &[u8]) -> Vec<u8> {
    let head = b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\nconnection: close\r\nlocation: ";
    [head, location, b"\r\n\r\n"].concat()
}
