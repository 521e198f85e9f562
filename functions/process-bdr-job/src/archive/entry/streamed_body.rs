//! Writes the body of an artwork that is read in pieces: all of it, or the beginning, and S3 copies the rest.

use crc32fast::Hasher;
use futures_util::stream::Stream;
use sha2::{Digest as _, Sha256};
use shared::vault::{Chunk, Upload, crc32_of_end, cut};

use super::EntryError;
use crate::artwork::{Ahead, StreamedFile};
use crate::phases::{Phase, Phases};

/// The body of a streamed artwork, whose local header is the last thing that was written.
pub(super) struct StreamedBody<'a> {
    upload: &'a mut Upload,
    file: &'a mut StreamedFile,
    /// The SHA-256 of the bytes so far, if it is needed.
    hash: Option<Sha256>,
    /// The CRC32 of the bytes so far, and their number.
    written: Hasher,
    position: u64,
    /// The position from which S3 is to copy.
    copy_from: Option<u64>,
    is_copied: bool,
}

impl<'a> StreamedBody<'a> {
    pub(super) fn new(
        upload: &'a mut Upload,
        file: &'a mut StreamedFile,
        hash: Option<Sha256>,
    ) -> Self {
        let copy_from = file.copies.and_then(|terms| {
            let start = upload.bytes_before_copy()?;
            let rest = file.version().size.checked_sub(start)?;
            terms.pay(rest, upload.part_size() as u64).then_some(start)
        });
        let (written, position) = (Hasher::new(), 0);
        Self { upload, file, hash, written, position, copy_from, is_copied: false }
    }

    /// Writes the body. Returns the SHA-256 of all its bytes.
    pub(super) async fn write(
        mut self,
        others: &mut Ahead<impl Stream + Unpin>,
        phases: &mut Phases,
    ) -> Result<Option<Sha256>, EntryError> {
        if self.copy_from.is_none() || self.hash.is_some() {
            self.file.read_rest();
        } else if self.upload.has_copied() {
            // Only the first copy can be refused without harm, and then needs the rest.
            self.file.leave_rest();
        }
        let mut chunk: Option<Chunk> = None;
        loop {
            if self.copy_from.take_if(|start| *start == self.position).is_some() {
                phases.enter(Phase::Upload);
                self.copy().await?;
            }
            if self.is_copied && self.hash.is_none() {
                return Ok(None);
            }
            chunk = chunk.filter(|chunk| !chunk.bytes.is_empty());
            if chunk.is_none() {
                phases.enter(Phase::Fetch);
                chunk = others.next_of(self.file).await.map_err(EntryError::Source)?;
                phases.enter(Phase::Write);
                if let (Some(chunk), Some(hash)) = (&chunk, &mut self.hash) {
                    hash.update(&chunk.bytes);
                }
            }
            let Some(unwritten) = &mut chunk else { return Ok(self.hash) };
            if self.is_copied {
                unwritten.bytes.clear();
            } else {
                self.append(unwritten).await?;
            }
        }
    }

    /// Writes the bytes of a chunk, up to those that S3 copies. Leaves the rest.
    async fn append(&mut self, chunk: &mut Chunk) -> Result<(), EntryError> {
        let before_copy = self.copy_from.map_or(u64::MAX, |start| start - self.position);
        let size = chunk.bytes.len().min(usize::try_from(before_copy).unwrap_or(usize::MAX));
        let (start, crc32) = cut(&mut chunk.bytes, &mut chunk.crc32, size);
        self.written.combine(&Hasher::new_with_initial_len(crc32, size as u64));
        self.position += size as u64;
        Ok(self.upload.append(start, crc32).await?)
    }

    /// Lets S3 copy the rest. If S3 refuses, the rest is read and written.
    async fn copy(&mut self) -> Result<(), EntryError> {
        let (key, version) = &*self.file.object;
        let rest = version.size - self.position;
        let crc32 = crc32_of_end(version.crc32, self.written.clone(), rest);
        self.is_copied = self.upload.copy_artwork(key, version, self.position, crc32).await?;
        if self.is_copied && self.hash.is_none() {
            self.file.leave_rest();
        } else {
            self.file.read_rest();
        }
        Ok(())
    }
}
