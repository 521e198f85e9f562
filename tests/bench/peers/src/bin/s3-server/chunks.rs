//! A body whose length is known before its bytes are.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Sends chunks as they are asked for, with a `Content-Length`.
#[derive(Debug)]
pub(crate) struct Chunks<I> {
    left: u64,
    chunks: I,
}

impl<I> Chunks<I> {
    /// A body of `size` bytes, which is what `chunks` must come to.
    pub(crate) fn new(size: u64, chunks: I) -> Self {
        Self { left: size, chunks }
    }
}

impl<I: Iterator<Item = Bytes> + Unpin> Body for Chunks<I> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = self.chunks.next();
        self.left -= chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
