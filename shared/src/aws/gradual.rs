//! Connections whose buffers grow for large bodies only.
//!
//! hyper doubles the buffer of a connection, from 8 KiB, whenever a read fills it. That saves CPU time where bodies are
//! large: 2 GB take a seventh less with 64 KiB than with 16. But many connections are open for small bodies, and each keeps
//! the largest buffer that it needed: 64 KiB each, 14 MiB in all, if every connection has served a large body.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

/// Maximum number of bytes per read at the beginning of a response: fewer than hyper's first buffer, so that it does
/// not grow.
const FIRST_READS: usize = 8 * 1024 - 1;
/// Number of bytes of a response after which reads are as large as hyper's buffer.
const BEGINNING: usize = 128 * 1024;

/// A connection that returns few bytes per read at the beginning of a response.
#[derive(Debug)]
pub(super) struct Gradual<S> {
    stream: S,
    /// Number of bytes read since the last write. Not counted beyond [`BEGINNING`].
    read: usize,
}

impl<S> Gradual<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, read: 0 }
    }
}

impl<S: Read + Unpin> Read for Gradual<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read >= BEGINNING {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let mut few = [MaybeUninit::uninit(); FIRST_READS];
        let mut few = ReadBuf::uninit(&mut few[..FIRST_READS.min(buffer.remaining())]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, few.unfilled()))?;
        buffer.put_slice(few.filled());
        self.read += few.filled().len();
        Poll::Ready(Ok(()))
    }
}

impl<S: Write + Unpin> Write for Gradual<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.read = 0;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.read = 0;
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}

impl<S: Connection> Connection for Gradual<S> {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;

    use hyper::rt::{Read as _, ReadBuf, Write as _};
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncWriteExt as _;

    use super::{BEGINNING, FIRST_READS, Gradual};

    #[tokio::test]
    async fn only_the_beginning_of_a_response_is_read_in_small_pieces() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let mut stream = Gradual::new(TokioIo::new(near));
        let sent: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        for _ in 0..2 {
            poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, b"request")).await.unwrap();
            far.write_all(&sent).await.unwrap();
            let mut received = Vec::new();
            while received.len() < sent.len() {
                let mut memory = vec![0; 64 * 1024];
                let mut buffer = ReadBuf::new(&mut memory);
                let read = poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, buffer.unfilled()));
                read.await.unwrap();
                let filled = buffer.filled();
                assert_eq!(filled.len() > FIRST_READS, received.len() >= BEGINNING);
                received.extend_from_slice(filled);
            }
            assert!(received == sent);
        }
    }
}
