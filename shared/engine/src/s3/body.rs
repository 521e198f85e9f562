//! Bodies: of a response, as a stream that ends with its announced length or an error, and of a
//! part, as segments that are not copied.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_smithy_runtime_api::client::connection::CaptureSmithyConnection;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::display::DisplayErrorContext;
use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::timeout;

use super::Error;

/// Maximum size of an error or a result that is read whole, in bytes. Those of S3 have hundreds.
const MAX_DOCUMENT: usize = 64 * 1024;
/// Time limit for the next bytes of such a document. While S3 copies a part, it sends a space every few
/// seconds.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// The body of a response: a stream of exactly the announced bytes, or of an error.
///
/// It has no time limit of its own, because a slow reader is not a stalled sender. Read it to its
/// end, so that its connection serves the next request.
pub struct Body {
    inner: SdkBody,
    /// Number of bytes to come.
    remaining: u64,
    checksum: Option<(crc32fast::Hasher, u32)>,
    /// Bytes that were put back.
    put_back: Bytes,
    connection: Option<CaptureSmithyConnection>,
}

impl Body {
    /// Returns a body that must have `length` bytes.
    #[must_use]
    pub fn new(inner: SdkBody, length: u64) -> Self {
        let put_back = Bytes::new();
        Self { inner, remaining: length, checksum: None, put_back, connection: None }
    }

    /// Returns the body with its connection.
    pub(super) fn over(self, connection: CaptureSmithyConnection) -> Self {
        Self { connection: Some(connection), ..self }
    }

    /// Closes the connection after this body, instead of keeping it for another request.
    pub fn close_connection(&self) {
        if let Some(connection) = self.connection.as_ref().and_then(CaptureSmithyConnection::get) {
            connection.poison();
        }
    }

    /// Returns the number of bytes to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Makes the end of the body an error unless all bytes have this CRC32.
    pub(super) fn expect_crc32(&mut self, crc32: u32) {
        self.checksum = Some((crc32fast::Hasher::new(), crc32));
    }

    /// Makes bytes that were returned last the next ones again.
    pub fn put_back(&mut self, bytes: Bytes) {
        self.remaining += bytes.len() as u64;
        self.put_back = bytes;
    }

    /// Returns the next bytes, or `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        poll_fn(|cx| self.poll_bytes(cx)).await
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if !self.put_back.is_empty() {
            let bytes = std::mem::take(&mut self.put_back);
            self.remaining -= bytes.len() as u64;
            return Poll::Ready(Some(Ok(bytes)));
        }
        loop {
            let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
            return Poll::Ready(match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(bytes))) => Some(self.take(bytes)),
                // Trailers.
                Some(Ok(Err(_))) => continue,
                Some(Err(error)) => Some(Err(Error::body(describe(&*error)))),
                None if self.remaining > 0 => {
                    let missing = std::mem::take(&mut self.remaining);
                    Some(Err(Error::body(format!("the body ended {missing} bytes early"))))
                }
                None => {
                    let checksum = self.checksum.take();
                    let is_wrong =
                        checksum.is_some_and(|(hasher, crc32)| hasher.finalize() != crc32);
                    is_wrong.then(|| Err(Error::checksum()))
                }
            });
        }
    }

    fn take(&mut self, bytes: Bytes) -> Result<Bytes, Error> {
        let rest = self.remaining.checked_sub(bytes.len() as u64);
        self.remaining =
            rest.ok_or_else(|| Error::body("the body is longer than announced".to_owned()))?;
        if let Some((hasher, _)) = &mut self.checksum {
            hasher.update(&bytes);
        }
        Ok(bytes)
    }
}

impl Stream for Body {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_bytes(cx)
    }
}

fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    DisplayErrorContext(error).to_string()
}

/// Reads an error or a result whole.
pub(super) async fn read_bounded(mut body: SdkBody) -> Result<Vec<u8>, Error> {
    let mut whole = Vec::new();
    loop {
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        let late = |_| Error::body("the body of the response stalled".to_owned());
        match timeout(DOCUMENT_TIMEOUT, frame).await.map_err(late)? {
            None => return Ok(whole),
            Some(Err(error)) => return Err(Error::body(describe(&*error))),
            Some(Ok(frame)) => {
                let bytes = frame.into_data().unwrap_or_default();
                if whole.len() + bytes.len() > MAX_DOCUMENT {
                    return Err(Error::body("the body of the response is too large".to_owned()));
                }
                whole.extend_from_slice(&bytes);
            }
        }
    }
}

/// Returns the body of a request of the SDK: the concatenation of `segments`, which are not copied. The SDK can
/// send it again.
#[must_use]
pub fn body_of(segments: Vec<Bytes>) -> SdkBody {
    SdkBody::retryable(move || SdkBody::from_body_1_x(Segments::new(segments.clone())))
}

/// The body of a part.
pub(super) struct Segments {
    segments: VecDeque<Bytes>,
    /// Number of bytes to come.
    remaining: u64,
}

impl Segments {
    pub(super) fn new(segments: impl IntoIterator<Item = Bytes>) -> Self {
        let segments: VecDeque<_> =
            segments.into_iter().filter(|bytes| !bytes.is_empty()).collect();
        let remaining = segments.iter().map(|bytes| bytes.len() as u64).sum();
        Self { segments, remaining }
    }

    /// Returns the number of bytes.
    pub(super) fn len(&self) -> u64 {
        self.remaining
    }
}

impl http_body::Body for Segments {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.segments.pop_front();
        self.remaining -= next.as_ref().map_or(0, |bytes| bytes.len() as u64);
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.segments.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::body::SdkBody;
    use bytes::Bytes;
    use http_body::Body as _;

    use super::{Body, Segments, read_bounded};
    use crate::s3::ErrorKind;

    /// Reads a body of these bytes whose announced length is `length`.
    async fn read(bytes: &'static str, length: u64) -> Result<Vec<u8>, ErrorKind> {
        let mut body = Body::new(SdkBody::from(bytes), length);
        let mut whole = Vec::new();
        while let Some(next) = body.next().await {
            whole.extend_from_slice(&next.map_err(|error| error.kind())?);
        }
        assert_eq!(body.remaining(), 0);
        Ok(whole)
    }

    #[tokio::test]
    async fn a_body_has_the_announced_length() {
        assert_eq!(read("12345", 5).await.unwrap(), b"12345");
        assert_eq!(read("", 0).await.unwrap(), b"");
        assert_eq!(read("12345", 6).await, Err(ErrorKind::Body));
        assert_eq!(read("12345", 4).await, Err(ErrorKind::Body));
    }

    #[tokio::test]
    async fn bytes_that_are_put_back_come_again() {
        let mut body = Body::new(SdkBody::from("12345"), 5);
        body.expect_crc32(crc32fast::hash(b"12345"));
        let mut bytes = body.next().await.unwrap().unwrap();
        assert_eq!(bytes.split_to(2), "12");
        body.put_back(bytes);
        assert_eq!(body.remaining(), 3);
        assert_eq!(body.next().await.unwrap().unwrap(), "345");
        assert_eq!(body.remaining(), 0);
        assert!(body.next().await.is_none(), "the CRC32 is right");
    }

    #[tokio::test]
    async fn a_document_has_a_maximum_size() {
        let of_size = |size: usize| read_bounded(SdkBody::from(vec![b' '; size]));
        assert_eq!(of_size(64 << 10).await.unwrap().len(), 64 << 10);
        assert!(of_size((64 << 10) + 1).await.is_err());
    }

    #[test]
    fn segments_have_an_exact_length_and_no_empty_frame() {
        let mut segments = Segments::new(["", "ab", "", "c", ""].map(Bytes::from));
        assert_eq!((segments.len(), segments.size_hint().exact()), (3, Some(3)));
        for expected in ["ab", "c"] {
            let next = std::pin::Pin::new(&mut segments);
            let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
            let std::task::Poll::Ready(Some(Ok(frame))) = next.poll_frame(context) else {
                panic!()
            };
            assert_eq!(frame.into_data().unwrap(), expected);
        }
        assert!(segments.is_end_stream());
    }
}
