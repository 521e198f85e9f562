//! Writes one artwork into the archive.

mod streamed_body;

use std::io;

use futures_util::stream::Stream;
use sha2::{Digest as _, Sha256};
use shared::failure::Failure;
use shared::vault::{Chunk, Upload};
use zip_to_s3::zip::{Deflated, EntryBody, Packing, ZipError, ZipWriter};

use self::streamed_body::StreamedBody;
use super::checksum::Checksum;
use crate::artwork::{Ahead, ArtworkFile, FetchedArtwork};
use crate::phases::Phases;

/// Why an artwork was not written.
pub(super) enum EntryError {
    /// The upload failed.
    Sink(ZipError),
    /// The artwork could not be read to its end.
    Source(Failure),
}

impl From<ZipError> for EntryError {
    fn from(error: ZipError) -> Self {
        Self::Sink(error)
    }
}

impl From<io::Error> for EntryError {
    fn from(error: io::Error) -> Self {
        Self::Sink(error.into())
    }
}

/// Writes an artwork as the file `name`. Returns what the central directory states about it, and its checksum
/// if `has_checksum`.
pub(super) async fn add(
    zip: &mut ZipWriter<&mut Upload>,
    name: &str,
    artwork: &mut FetchedArtwork<'_>,
    others: &mut Ahead<impl Stream + Unpin>,
    has_checksum: bool,
    phases: &mut Phases,
) -> Result<(EntryBody, Option<Checksum>), EntryError> {
    let modified = artwork.planned.post.created_at;
    let packing = Packing::of(&artwork.planned.name.extension);
    let file = match &mut artwork.file {
        ArtworkFile::Whole(file) => {
            let pieces = || file.chunks.iter().map(|chunk| &chunk.bytes[..]);
            let body = match packing {
                Packing::Store => {
                    zip.add_header(name, modified, file.crc32, file.size()).await?;
                    // Not through the writer, which would copy them.
                    for Chunk { bytes, crc32 } in &file.chunks {
                        zip.sink().append(bytes.clone(), *crc32).await?;
                    }
                    EntryBody::stored(file.crc32, file.size())
                }
                Packing::DeflateFast => {
                    let deflated = Deflated::fast(pieces())?;
                    zip.add_deflated(name, modified, &deflated).await?;
                    deflated.body()
                }
            };
            return Ok((body, has_checksum.then(|| Checksum::of(pieces()))));
        }
        ArtworkFile::Streamed(file) => file,
    };
    let (crc32, size) = (file.version().crc32, file.version().size);
    zip.add_header(name, modified, crc32, size).await?;
    let hash = has_checksum.then(Sha256::new);
    let hash = StreamedBody::new(zip.sink(), file, hash).write(others, phases).await?;
    Ok((EntryBody::stored(crc32, size), hash.map(Checksum::of_all)))
}
