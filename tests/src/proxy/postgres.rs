//! The proxy in front of PostgreSQL. It works turn by turn (PostgreSQL documentation, "Message Flow"):
//! a turn is what the client sends until it expects an answer (the start of a connection, a password,
//! statements up to a `Sync`), and that answer. Pipelined turns are handled one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use anyhow::{Context as _, Result};
use axum::serve::Listener as _;
use futures_util::FutureExt as _;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::call::Call;
use super::connection::{Connection, Port};
use super::script::{Extent, Fault, Script};

/// Codes of the `Authentication…` messages that the client answers with a message of type `p`.
const WANTS_PASSWORD: [u32; 5] = [3, 5, 8, 10, 11];

/// The proxy. It ends, with its connections, when it is dropped.
#[derive(Debug)]
pub struct DatabaseWire {
    url: String,
    silences: Arc<AtomicU32>,
    round_trips: Arc<AtomicUsize>,
    _server: AbortOnDropHandle<()>,
}

impl DatabaseWire {
    /// Starts a proxy that forwards to the database at `url`, on this machine and without TLS.
    ///
    /// # Errors
    /// When no port is free, or `url` is not a PostgreSQL URL with a port.
    pub async fn start(script: Arc<Script>, url: &str) -> Result<Self> {
        let config: tokio_postgres::Config = url.parse()?;
        let server = *config.get_ports().first().context("the database URL has no port")?;
        let mut port = Port::open().await?;
        let silences = Arc::clone(&port.silences);
        let url = url.replace(&format!(":{server}/"), &format!(":{}/", port.address.port()));
        let round_trips = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&round_trips);
        let serving = async move {
            let mut connections = JoinSet::new();
            loop {
                let (near, _) = port.accept().await;
                let (script, counter) = (Arc::clone(&script), Arc::clone(&counter));
                connections.spawn(async move {
                    // The client notices a connection that breaks.
                    let _ = serve(BufReader::new(near), server, &script, &counter).await;
                });
            }
        };
        let server = AbortOnDropHandle::new(tokio::spawn(serving));
        Ok(Self { url, silences, round_trips, _server: server })
    }

    /// Returns the database's URL through the proxy, for `DATABASE_URL`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns how often a client waited for an answer, on all connections.
    #[must_use]
    pub fn round_trips(&self) -> usize {
        self.round_trips.load(Relaxed)
    }

    /// Silences the present connections: they stay open, and nothing passes. Later ones work.
    pub fn go_silent(&self) {
        self.silences.fetch_add(1, Relaxed);
    }
}

async fn serve(
    mut near: BufReader<Connection>,
    server: u16,
    script: &Script,
    round_trips: &AtomicUsize,
) -> Result<()> {
    let mut far = TcpStream::connect(("127.0.0.1", server)).await?;
    far.set_nodelay(true)?;
    // The first message of a connection has no type.
    let (mut call, mut turn) = (Call::of_postgres("connect"), Vec::new());
    read_content(&mut near, &mut turn).await?;
    while call.operation != "close" {
        let fault = script.next(call);
        if fault == Some(Fault::Error) {
            return Ok(near.write_all(&admin_shutdown()).await?);
        }
        if !script.before(fault).await {
            return Ok(());
        }
        far.write_all(&turn).await?;
        let answer = read_answer(&mut far).await?;
        match script.after(fault).await {
            Extent::Nothing => return Ok(()),
            Extent::Half => return Ok(near.write_all(&answer[..answer.len() / 2]).await?),
            Extent::Whole => {}
        }
        // A client that has already sent its next turn does not wait for this answer.
        if near.fill_buf().now_or_never().is_none() {
            round_trips.fetch_add(1, Relaxed);
        }
        near.write_all(&answer).await?;
        (call, turn) = read_turn(&mut near).await?;
    }
    Ok(far.write_all(&turn).await?)
}

/// Reads up to a message that the server answers, or that closes the connection.
async fn read_turn(near: &mut BufReader<Connection>) -> Result<(Call, Vec<u8>)> {
    let (mut turn, mut statement) = (Vec::new(), String::new());
    let find_call = |kind, content: &[u8]| {
        let text = |index| content.split(|byte| *byte == 0).nth(index).unwrap_or_default();
        match kind {
            // The statement follows the name under which it is prepared.
            b'P' => statement = String::from_utf8_lossy(text(1)).into_owned(),
            b'Q' => return Some(Call::of_sql(&String::from_utf8_lossy(text(0)))),
            b'S' => return Some(Call::of_sql(&statement)),
            b'p' => return Some(Call::of_postgres("authenticate")),
            b'X' => return Some(Call::of_postgres("close")),
            _ => {}
        }
        None
    };
    Ok((read_messages(near, &mut turn, find_call).await?, turn))
}

/// Reads up to `ReadyForQuery`, a fatal error, or a request for a password.
async fn read_answer(far: &mut TcpStream) -> Result<Vec<u8>> {
    let mut answer = Vec::new();
    let find_end = |kind, content: &[u8]| {
        let code = content.first_chunk().copied().map(u32::from_be_bytes);
        let wants_password = code.is_some_and(|code| WANTS_PASSWORD.contains(&code));
        (kind == b'Z' || kind == b'R' && wants_password).then_some(())
    };
    match read_messages(far, &mut answer, find_end).await {
        // The server closes the connection after a fatal error.
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

/// Appends messages to `bytes` until `find` returns something for the type and content of one.
async fn read_messages<T>(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
    mut find: impl FnMut(u8, &[u8]) -> Option<T>,
) -> Result<T> {
    loop {
        let kind = stream.read_u8().await?;
        bytes.push(kind);
        let begin = read_content(stream, bytes).await?;
        if let Some(found) = find(kind, &bytes[begin..]) {
            return Ok(found);
        }
    }
}

/// Appends the length and the content of a message to `bytes`; returns where the content begins.
async fn read_content(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> Result<usize> {
    let length = stream.read_u32().await?;
    bytes.extend_from_slice(&length.to_be_bytes());
    let begin = bytes.len();
    // The length counts its own four bytes.
    bytes.resize(begin - 4 + length as usize, 0);
    stream.read_exact(&mut bytes[begin..]).await?;
    Ok(begin)
}

/// Returns the message of a server that an operator stops (PostgreSQL documentation, "Error and Notice
/// Message Fields").
fn admin_shutdown() -> Vec<u8> {
    let fields =
        b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0";
    let length = u32::try_from(fields.len() + 4).unwrap();
    [b"E", &length.to_be_bytes()[..], fields].concat()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_silent_wire_keeps_both_ends_open() {
        const READY: &[u8] = b"Z\0\0\0\x05I";
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let url = format!("postgresql://user@127.0.0.1:{port}/bdr");
        let wire = DatabaseWire::start(Arc::default(), &url).await.unwrap();
        let near = wire.url().parse::<tokio_postgres::Config>().unwrap().get_ports()[0];
        let mut near = TcpStream::connect(("127.0.0.1", near)).await.unwrap();
        let (mut far, _) = server.accept().await.unwrap();
        near.write_all(&[0, 0, 0, 8, 0, 3, 0, 0]).await.unwrap();
        far.read_exact(&mut [0; 8]).await.unwrap();
        far.write_all(READY).await.unwrap();
        near.read_exact(&mut [0; READY.len()]).await.unwrap();
        assert_eq!(wire.round_trips(), 1);

        wire.go_silent();
        near.write_all(b"S\0\0\0\x04").await.unwrap();
        // A closed connection would end the read at once.
        let silence = Duration::from_millis(200);
        assert!(timeout(silence, far.read(&mut [0])).await.is_err());
        assert!(timeout(silence, near.read(&mut [0])).await.is_err());
    }
}
