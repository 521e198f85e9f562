//! A part that is sent while it fills: its size is announced, its CRC32 follows its last byte.
//!
//! The framing is `aws-chunked` with a trailer ("Signature Calculations for the Authorization Header:
//! Transferring Payload in Multiple Chunks", Amazon S3 API Reference), here with one chunk.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{CHECKSUM, encode_crc32};

/// The bytes of a part, which requests read while they arrive. Cloning is cheap and shares the bytes.
///
/// The writer calls [`push`](Self::push), and at the end [`complete`](Self::complete) or
/// [`withdraw`](Self::withdraw).
#[derive(Clone, Default)]
pub struct PartBytes(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    segments: Vec<Bytes>,
    end: End,
    /// Tasks that wait for bytes or for the end.
    waiting: Vec<Waker>,
}

/// Whether more bytes arrive.
#[derive(Clone, Copy, Default)]
enum End {
    #[default]
    Open,
    /// All bytes have arrived. They have this CRC32.
    Complete(u32),
    Withdrawn,
}

impl PartBytes {
    /// Appends bytes, which are not copied.
    pub fn push(&self, bytes: Bytes) {
        self.change(|state| state.segments.push(bytes));
    }

    /// Ends the part, whose bytes have this CRC32.
    pub fn complete(&self, crc32: u32) {
        self.change(|state| state.end = End::Complete(crc32));
    }

    /// Ends the part without sending it. Returns its bytes.
    #[must_use]
    pub fn withdraw(&self) -> Vec<Bytes> {
        self.change(|state| {
            state.end = End::Withdrawn;
            std::mem::take(&mut state.segments)
        })
    }

    /// Returns the number of segments so far.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.state().segments.len()
    }

    /// Waits for the end. Returns the bytes and their CRC32, or `None` if the part is withdrawn.
    pub async fn completed(&self) -> Option<(Vec<Bytes>, u32)> {
        poll_fn(|cx| {
            let mut state = self.state();
            match state.end {
                End::Open => state.wait(cx),
                End::Complete(crc32) => Poll::Ready(Some((state.segments.clone(), crc32))),
                End::Withdrawn => Poll::Ready(None),
            }
        })
        .await
    }

    /// Returns the CRC32, if the part is complete.
    pub(super) fn crc32(&self) -> Option<u32> {
        match self.state().end {
            End::Complete(crc32) => Some(crc32),
            End::Open | End::Withdrawn => None,
        }
    }

    /// Returns the segment at `index`, or the CRC32 if there are no more segments.
    fn poll_segment(
        &self,
        index: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Result<Bytes, u32>, OtherSize>> {
        let mut state = self.state();
        if let Some(segment) = state.segments.get(index) {
            return Poll::Ready(Ok(Ok(segment.clone())));
        }
        match state.end {
            End::Open => state.wait(cx),
            End::Complete(crc32) => Poll::Ready(Ok(Err(crc32))),
            End::Withdrawn => Poll::Ready(Err(OtherSize)),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (result, waiting) = {
            let mut state = self.state();
            (change(&mut state), std::mem::take(&mut state.waiting))
        };
        waiting.into_iter().for_each(Waker::wake);
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// The part does not have its announced size, or is not sent.
#[derive(Debug)]
pub(super) struct OtherSize;

impl fmt::Display for OtherSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the part has another size than announced")
    }
}

impl std::error::Error for OtherSize {}

/// The body of a request that sends a part while it fills.
pub(super) struct Framed {
    part: PartBytes,
    is_over: Arc<AtomicBool>,
    next: Next,
    /// Number of bytes of the part to come.
    left: u64,
    /// Number of bytes of the body to come.
    body_left: u64,
}

#[derive(Clone, Copy)]
enum Next {
    /// The size of the chunk.
    Size,
    /// The segment with this index.
    Segment(usize),
    Nothing,
}

impl Framed {
    /// Returns the body of a part of `size` bytes, which ends with the request.
    pub(super) fn new(part: PartBytes, size: u64) -> (Self, FramedRequest) {
        let framing = start(size).len() + trailer(0).len();
        let is_over = Arc::<AtomicBool>::default();
        let request = FramedRequest { part: part.clone(), is_over: Arc::clone(&is_over) };
        let (next, body_left) = (Next::Size, size + framing as u64);
        (Self { part, is_over, next, left: size, body_left }, request)
    }

    /// Returns the number of bytes of the body.
    pub(super) fn len(&self) -> u64 {
        self.body_left
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, OtherSize>>> {
        if self.is_over.load(Ordering::Relaxed) {
            return self.fail();
        }
        let (bytes, next) = match self.next {
            Next::Size => (start(self.left).into(), Next::Segment(0)),
            Next::Segment(index) => match ready!(self.part.poll_segment(index, cx)) {
                Ok(Ok(segment)) => {
                    let Some(left) = self.left.checked_sub(segment.len() as u64) else {
                        return self.fail();
                    };
                    self.left = left;
                    (segment, Next::Segment(index + 1))
                }
                Ok(Err(crc32)) if self.left == 0 => (trailer(crc32).into(), Next::Nothing),
                Ok(Err(_)) | Err(OtherSize) => return self.fail(),
            },
            Next::Nothing => return Poll::Ready(None),
        };
        self.next = next;
        self.body_left -= bytes.len() as u64;
        Poll::Ready(Some(Ok(bytes)))
    }

    fn fail(&mut self) -> Poll<Option<Result<Bytes, OtherSize>>> {
        self.next = Next::Nothing;
        Poll::Ready(Some(Err(OtherSize)))
    }
}

/// The request that a body belongs to. When this is dropped, the body ends: after an early response the connection
/// would otherwise send the rest, and keep the bytes in memory, while another request sends the part.
pub(super) struct FramedRequest {
    part: PartBytes,
    is_over: Arc<AtomicBool>,
}

impl Drop for FramedRequest {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the body.
        self.part.change(|_| ());
    }
}

/// Returns what precedes a chunk of `size` bytes.
fn start(size: u64) -> String {
    format!("{size:x}\r\n")
}

/// Returns what follows the chunk: the empty one that ends the body, and the trailer.
fn trailer(crc32: u32) -> String {
    format!("\r\n0\r\n{CHECKSUM}:{}\r\n\r\n", encode_crc32(crc32))
}

impl http_body::Body for Framed {
    type Data = Bytes;
    type Error = OtherSize;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OtherSize>>> {
        self.poll_bytes(cx).map_ok(Frame::data)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.body_left)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use http_body::Body as _;

    use super::{Framed, PartBytes};

    /// Returns the next bytes of the body.
    fn next(body: &mut Framed) -> Poll<Option<Result<Bytes, String>>> {
        let frame = Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()));
        let bytes = |frame: http_body::Frame<Bytes>| frame.into_data().unwrap();
        frame.map(|frame| frame.map(|frame| frame.map(bytes).map_err(|error| error.to_string())))
    }

    fn text(body: &mut Framed) -> String {
        let Poll::Ready(Some(Ok(bytes))) = next(body) else { panic!("no bytes") };
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn fails(body: &mut Framed) -> bool {
        matches!(next(body), Poll::Ready(Some(Err(_))))
    }

    #[test]
    fn bytes_are_sent_as_they_arrive_and_the_crc32_at_the_end() {
        let part = PartBytes::default();
        let (mut body, _request) = Framed::new(part.clone(), 13);
        assert_eq!(text(&mut body), "d\r\n");
        assert!(next(&mut body).is_pending());
        part.push("hello ".into());
        assert_eq!(text(&mut body), "hello ");
        assert!(next(&mut body).is_pending());
        part.push("world\r\n".into());
        assert_eq!(text(&mut body), "world\r\n");
        assert!(next(&mut body).is_pending(), "the CRC32 is not known");
        part.complete(0x0123_4567);
        assert_eq!(text(&mut body), "\r\n0\r\nx-amz-checksum-crc32:ASNFZw==\r\n\r\n");
        assert_eq!((next(&mut body), body.len()), (Poll::Ready(None), 0));
        let (segments, crc32) = part.completed().now_or_never().unwrap().unwrap();
        assert_eq!((segments.concat(), crc32), (b"hello world\r\n".to_vec(), 0x0123_4567));
    }

    #[test]
    fn a_part_of_another_size_ends_the_body_with_an_error() {
        for size in [4, 6] {
            let part = PartBytes::default();
            part.push("12345".into());
            part.complete(0);
            let (mut body, _request) = Framed::new(part, size);
            assert_eq!(text(&mut body), format!("{size}\r\n"));
            if size > 5 {
                assert_eq!(text(&mut body), "12345");
            }
            assert!(fails(&mut body), "{size}");
        }
    }

    #[test]
    fn a_part_that_is_withdrawn_is_not_sent() {
        let part = PartBytes::default();
        let (mut body, _request) = Framed::new(part.clone(), 5);
        assert_eq!(text(&mut body), "5\r\n");
        part.push("123".into());
        let mut completed = Box::pin(part.completed());
        assert!(completed.as_mut().now_or_never().is_none());
        assert_eq!(part.withdraw(), ["123"]);
        assert!(fails(&mut body));
        assert!(completed.now_or_never().unwrap().is_none());
    }

    #[tokio::test]
    async fn a_body_ends_with_its_request() {
        let part = PartBytes::default();
        let (mut body, request) = Framed::new(part.clone(), 5);
        assert_eq!(text(&mut body), "5\r\n");
        let waiting = poll_fn(move |cx| Pin::new(&mut body).poll_frame(cx));
        let waiting = tokio::spawn(waiting);
        tokio::task::yield_now().await;
        drop(request);
        assert!(waiting.await.unwrap().unwrap().is_err());
        part.push("12345".into());
        part.complete(7);
        assert_eq!(part.completed().await.unwrap().0, ["12345"], "the part can be sent again");
    }

    #[tokio::test]
    async fn every_reader_is_woken() {
        let part = PartBytes::default();
        let readers = [part.clone(), part.clone()]
            .map(|part| tokio::spawn(async move { part.completed().await.unwrap().1 }));
        tokio::task::yield_now().await;
        part.complete(7);
        for reader in readers {
            assert_eq!(reader.await.unwrap(), 7);
        }
    }
}
