//! A web host that answers byte for byte what a test says: what no well-behaved server can.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::web::Visits;

/// A host on this machine, a thread a connection, until the process ends.
pub struct RawHost {
    /// `host:port`.
    pub authority: String,
    /// How often each path was asked for.
    pub visits: Visits,
    connections: Arc<AtomicU32>,
}

/// Writes the answer to the request for a path. When it returns, the connection ends.
type Answer = dyn Fn(&str, &mut dyn Write) -> io::Result<()> + Send + Sync;

impl RawHost {
    /// A host at a free port.
    #[must_use]
    pub fn start(
        answer: impl Fn(&str, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").unwrap(), None, answer)
    }

    /// A host at this listener, behind TLS if there is a configuration for it.
    #[must_use]
    pub fn at(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&str, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let host = Self {
            authority: listener.local_addr().unwrap().to_string(),
            visits: Visits::default(),
            connections: Arc::default(),
        };
        let (visits, connections) = (host.visits.clone(), Arc::clone(&host.connections));
        let answer: Arc<Answer> = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::Relaxed);
                let (visits, answer, tls) = (visits.clone(), Arc::clone(&answer), tls.clone());
                // A client that goes away is no fault of the host's.
                std::thread::spawn(move || match tls {
                    None => serve(stream, &visits, &*answer),
                    Some(tls) => serve(encrypted(stream, tls), &visits, &*answer),
                });
            }
        });
        host
    }

    /// How many connections were made to it.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }
}

fn encrypted(
    stream: TcpStream,
    tls: Arc<ServerConfig>,
) -> StreamOwned<ServerConnection, TcpStream> {
    StreamOwned::new(ServerConnection::new(tls).unwrap(), stream)
}

fn serve(stream: impl Read + Write, visits: &Visits, answer: &Answer) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    stream.read_line(&mut request)?;
    while stream.read_line(&mut String::new())? > 2 {} // up to the empty line
    let Some(path) = request.split(' ').nth(1) else { return Ok(()) };
    visits.count_path(path);
    answer(path, stream.get_mut())?;
    stream.get_mut().flush()
}

/// A good answer with two headers and further ones.
#[must_use]
pub fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n");
    [head.as_bytes(), headers.as_bytes(), b"\r\n", body].concat()
}

/// A redirect.
#[must_use]
pub fn redirect(location: &[u8]) -> Vec<u8> {
    let head = b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\nconnection: close\r\nlocation: ";
    [head, location, b"\r\n\r\n"].concat()
}
