//! A client's connection to a proxy, which can be silenced, or cut off in the middle of an answer.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use anyhow::Context as _;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::script::Extent;

/// A port of this machine, from which all connections of one proxy come.
pub(super) struct Port {
    listener: TcpListener,
    pub(super) address: SocketAddr,
    /// How often the connections so far were silenced: they stay open, and nothing passes, as when
    /// their owner is frozen. Later connections work.
    pub(super) silences: Arc<AtomicU32>,
}

/// A connection of a client.
pub(super) struct Connection {
    stream: TcpStream,
    silences: Arc<AtomicU32>,
    /// The value of `silences` when the connection was accepted.
    accepted: u32,
    cut: Cut,
}

/// The number of bytes that a connection still delivers before it breaks, or one of two marks.
#[derive(Debug, Clone)]
pub(super) struct Cut(Arc<AtomicUsize>);

/// The mark for no limit.
const WHOLE: usize = usize::MAX;
/// The mark for half of the next answer, until its length is known.
const HALF: usize = usize::MAX - 1;

impl Port {
    /// Opens a free port.
    pub(super) async fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port is free")?;
        Ok(Self { address: listener.local_addr()?, listener, silences: Arc::default() })
    }
}

impl Listener for Port {
    type Io = Connection;
    type Addr = Cut;

    async fn accept(&mut self) -> (Connection, Cut) {
        let (stream, _) = Listener::accept(&mut self.listener).await;
        // An error means that the client has gone; the first read reports it.
        let _ = stream.set_nodelay(true);
        let cut = Cut(Arc::new(AtomicUsize::new(WHOLE)));
        let (silences, accepted) = (Arc::clone(&self.silences), self.silences.load(Relaxed));
        (Connection { stream, silences, accepted, cut: cut.clone() }, cut)
    }

    fn local_addr(&self) -> io::Result<Cut> {
        Err(ErrorKind::Unsupported.into())
    }
}

impl Connected<IncomingStream<'_, Port>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Port>) -> Self {
        stream.remote_addr().clone()
    }
}

impl Cut {
    /// Limits the answer that comes next.
    pub(super) fn next_answer(&self, extent: Extent) {
        let limit = match extent {
            Extent::Nothing => 0,
            Extent::Half => HALF,
            Extent::Whole => WHOLE,
        };
        self.0.store(limit, Relaxed);
    }
}

/// Returns the length of the head and half of the body of an HTTP answer, or of half of the head of one
/// without a body.
fn half(answer: &[u8]) -> usize {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
    if head == answer.len() { head / 2 } else { usize::midpoint(head, answer.len()) }
}

impl Connection {
    fn is_silent(&self) -> bool {
        self.silences.load(Relaxed) > self.accepted
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_silent() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_silent() {
            return Poll::Pending;
        }
        let limit = match self.cut.0.load(Relaxed) {
            WHOLE => return Pin::new(&mut self.stream).poll_write(cx, bytes),
            // hyper writes an answer whose body is in memory at once.
            HALF => half(bytes),
            0 => return Poll::Ready(Err(ErrorKind::ConnectionAborted.into())),
            limit => limit,
        };
        let passing = &bytes[..bytes.len().min(limit)];
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, passing))?;
        self.cut.0.store(limit - written, Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
