//! Large artworks of the vault, read in pieces while they are written.
//!
//! S3 states the CRC32 of most objects, so their local header can be written before their bytes have
//! arrived. The pieces are ranges of one version of the object: the first one is the beginning of the
//! response that revealed the size, the others are requested in parallel as the budget allows. A piece that
//! breaks off is resumed. Once the header is written, the artwork cannot be left out any more: one that is
//! gone, or has another CRC32 in the end, fails the attempt. So nothing is streamed on the last receive.
//!
//! S3 may copy the end of such an artwork into the archive. Whether that pays depends on the part of the upload in
//! which the artwork begins, so the writer decides. Until then only the beginning is read.

use std::ops::Range;
use std::sync::Arc;

use crc32fast::Hasher;
use futures_util::stream::{Stream, StreamExt};
use shared::failure::Failure;
use shared::vault::{ArtworkKey, ArtworkVersion, Chunk, OpenRange, VaultError};
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use zip_to_s3::plan::MIN_PART;
use zip_to_s3::zip::Packing;

use super::{OVERHEAD, Opened, RETRY_DELAYS, VaultLane};
use crate::artwork::budget::Share;
use crate::artwork::copying::CopyTerms;
use crate::artwork::pace::Response;
use crate::artwork::window::Slot;
use crate::artwork::{PlannedArtwork, spawn};
use crate::attempt::{Backoff, full_jitter};

const FAILED: &str = "failed to read an artwork";

/// The file of an artwork, of which a few pieces are held at once.
pub struct StreamedFile {
    /// Its key and version.
    pub(crate) object: Arc<(ArtworkKey, ArtworkVersion)>,
    /// The terms on which S3 copies its end, if that may pay.
    pub(crate) copies: Option<CopyTerms>,
    pieces: mpsc::UnboundedReceiver<Reading>,
    next: Option<Reading>,
    /// What is left of the piece that was read last.
    current: Option<Piece>,
    /// Sent: all of it is read. Dropped: no more than its beginning is.
    rest: Option<oneshot::Sender<()>>,
    /// The bytes so far.
    read: Hasher,
    read_size: u64,
    _granting: AbortOnDropHandle<()>,
}

type Reading = AbortOnDropHandle<Result<Piece, Failure>>;

/// A response whose bytes follow those that were read.
type Following = (OpenRange, Response);

/// Maximum number of pieces that are read one after the other from one response. Another request for the second of two
/// would make what the first response has sent of it useless, which is nearly all. Of more pieces it is little.
const PIECES_OF_ONE_RESPONSE: u64 = 2;

/// Some bytes of a file.
struct Piece {
    chunks: std::vec::IntoIter<Chunk>,
    /// The part of the budget that they occupy until all of them are taken.
    _share: Share,
}

impl StreamedFile {
    /// Returns its version, with its size and CRC32.
    pub(crate) fn version(&self) -> &ArtworkVersion {
        &self.object.1
    }

    /// Returns the next bytes, or `None` after the last ones. A call that is cancelled loses nothing.
    ///
    /// # Errors
    /// When the file cannot be read to its end, or its bytes have another CRC32.
    pub async fn next(&mut self) -> Result<Option<Chunk>, Failure> {
        loop {
            if let Some(chunk) = self.current.as_mut().and_then(|piece| piece.chunks.next()) {
                let length = chunk.bytes.len() as u64;
                self.read.combine(&Hasher::new_with_initial_len(chunk.crc32, length));
                self.read_size += length;
                return Ok(Some(chunk));
            }
            self.current = None;
            if self.next.is_none() {
                self.next = self.pieces.recv().await;
            }
            let Some(reading) = &mut self.next else {
                return self.check_end().map(|()| None);
            };
            let piece = reading.await.unwrap_or_else(|error| Err(Failure::retry(FAILED, error)));
            self.next = None;
            self.current = Some(piece?);
        }
    }

    /// Reads all of it.
    pub(crate) fn read_rest(&mut self) {
        if let Some(rest) = self.rest.take() {
            // The reading task ends only with this file.
            let _ = rest.send(());
        }
    }

    /// Reads no more than [`MIN_PART`] bytes, up to the end of a piece: S3 copies the rest.
    pub(crate) fn leave_rest(&mut self) {
        self.rest = None;
    }

    fn check_end(&self) -> Result<(), Failure> {
        let ArtworkVersion { size, crc32, .. } = *self.version();
        if self.read_size != size {
            let detail = format!("{} of {size} bytes arrived", self.read_size);
            return Err(Failure::retry(FAILED, detail));
        }
        if self.read.clone().finalize() != crc32 {
            return Err(Failure::retry(FAILED, "its bytes have another CRC32 than S3 states"));
        }
        Ok(())
    }
}

impl VaultLane {
    /// Returns the version and the size of pieces of an artwork that can be read in pieces.
    pub(super) fn as_streamed(
        &self,
        planned: &PlannedArtwork<'_>,
        opened: &Opened,
    ) -> Option<(ArtworkVersion, u64)> {
        let is_stored = Packing::of(&planned.name.extension) == Packing::Store;
        let may_fail = self.stop_at.is_none();
        let piece_size = self.budget.piece_size(opened.file.size());
        let version = opened.file.version().filter(|_| is_stored && may_fail)?;
        Some((version, piece_size?))
    }

    /// Starts to read an artwork in pieces. `turn` ends when all have their share of the budget, so that no
    /// later artwork takes what the pieces need.
    pub(super) fn start_streaming(
        &self,
        (key, opened, slot): (ArtworkKey, Opened, Slot),
        (version, piece_size): (ArtworkVersion, u64),
        turn: OwnedMutexGuard<()>,
    ) -> StreamedFile {
        let lane = self.clone();
        let size = version.size;
        let object = Arc::new((key, version));
        let (to_writer, pieces) = mpsc::unbounded_channel();
        let copies = self.copies.filter(|terms| terms.may_pay(size));
        let (rest, is_rest_read) = oneshot::channel();
        let mut is_rest_read = copies.map(|_| is_rest_read);
        let of_pieces = Arc::clone(&object);
        let granting = spawn(async move {
            let (_turn, _slot) = (turn, slot);
            let is_one_response = size.div_ceil(piece_size) <= PIECES_OF_ONE_RESPONSE;
            let (to_first, mut following) = oneshot::channel();
            let _ = to_first.send((opened.file.into_range(), opened.response));
            let mut start = 0;
            while start < size {
                if let Some(is_rest_read) = is_rest_read.take_if(|_| start >= MIN_PART)
                    && is_rest_read.await.is_err()
                {
                    return; // S3 copies the rest
                }
                let range = start..size.min(start + piece_size);
                start = range.end;
                let share = lane.budget.take(range.end - range.start + OVERHEAD).await;
                let (lane, object) = (lane.clone(), Arc::clone(&of_pieces));
                let (to_next, next) = oneshot::channel();
                let to_next = is_one_response.then_some(to_next);
                let opened = std::mem::replace(&mut following, next);
                let reading = spawn(async move {
                    lane.read_piece(&object, range, opened.await.ok(), share, to_next).await
                });
                if to_writer.send(reading).is_err() {
                    return; // the attempt has ended
                }
            }
        });
        StreamedFile {
            object,
            copies,
            pieces,
            next: None,
            current: None,
            rest: Some(rest),
            read: Hasher::new(),
            read_size: 0,
            _granting: granting,
        }
    }

    /// Reads a piece, and resumes it until it is complete. Passes a response that has more bytes to `to_next`.
    async fn read_piece(
        &self,
        (key, version): &(ArtworkKey, ArtworkVersion),
        range: Range<u64>,
        mut opened: Option<Following>,
        share: Share,
        to_next: Option<oneshot::Sender<Following>>,
    ) -> Result<Piece, Failure> {
        let too_large = |error| Failure::retry(FAILED, error);
        let size = usize::try_from(range.end - range.start).map_err(too_large)?;
        let mut chunks = self.vault.chunks(size);
        let mut backoff = Backoff::new(RETRY_DELAYS);
        let mut is_resumed = false;
        loop {
            let (mut body, response) = if let Some(opened) = opened.take() {
                opened
            } else {
                let rest = range.start + chunks.size() as u64..range.end;
                self.open_piece(key, version, rest).await?
            };
            // After a broken body, the head of a response proves nothing.
            if !is_resumed {
                response.succeeded();
            }
            let Err(error) = body.read_to(&mut chunks).await else {
                if is_resumed {
                    response.succeeded();
                }
                if let Some(to_next) = to_next.filter(|_| body.has_more()) {
                    // Without a next piece the response ends here.
                    let _ = to_next.send((body, response));
                }
                break;
            };
            response.failed();
            is_resumed = true;
            tracing::debug!(key = %key, error = %error, position = chunks.size(), "resuming a piece");
            sleep(full_jitter(backoff.next_delay())).await;
        }
        Ok(Piece { chunks: chunks.finish().into_iter(), _share: share })
    }

    /// Requests a range until S3 returns it, or an error that a retry does not change.
    async fn open_piece(
        &self,
        key: &ArtworkKey,
        version: &ArtworkVersion,
        range: Range<u64>,
    ) -> Result<(OpenRange, Response), Failure> {
        let mut backoff = Backoff::new(RETRY_DELAYS);
        loop {
            let permit = self.window.permit().await;
            let error = match self.vault.open_range(key, version, range.clone()).await {
                Ok(opened) => return Ok((opened, permit.opened())),
                Err(error) => error,
            };
            match error {
                VaultError::Congested(_) | VaultError::Service(_) => permit.failed(),
                VaultError::Body(_) => drop(permit),
                error => {
                    permit.succeeded();
                    return Err(Failure::retry(FAILED, error));
                }
            }
            tracing::debug!(key = %key, error = %error, "requesting a piece again");
            sleep(full_jitter(backoff.next_delay())).await;
        }
    }
}

/// A stream of artworks that makes progress while one of them is read in pieces.
pub(crate) struct Ahead<S: Stream> {
    artworks: S,
    next: Early<S::Item>,
}

/// What has arrived early.
enum Early<T> {
    Nothing,
    Artwork(T),
    /// The end of the artworks.
    End,
}

impl<S: Stream + Unpin> Ahead<S> {
    pub(crate) fn new(artworks: S) -> Self {
        Self { artworks, next: Early::Nothing }
    }

    /// Returns the next artwork.
    pub(crate) async fn next(&mut self) -> Option<S::Item> {
        match std::mem::replace(&mut self.next, Early::Nothing) {
            Early::Artwork(artwork) => Some(artwork),
            Early::Nothing => self.artworks.next().await,
            Early::End => None,
        }
    }

    /// Returns the next bytes of `file`, and meanwhile fetches the next artwork.
    pub(crate) async fn next_of(
        &mut self,
        file: &mut StreamedFile,
    ) -> Result<Option<Chunk>, Failure> {
        loop {
            tokio::select! {
                biased;
                chunk = file.next() => return chunk,
                next = self.artworks.next(), if matches!(self.next, Early::Nothing) => {
                    self.next = next.map_or(Early::End, Early::Artwork);
                }
            }
        }
    }
}
