//! The ZIP writer: entries and bytes into a sink, without knowledge of AWS.
//!
//! Every entry is complete before its local header is written, so that the header holds size and CRC:
//! readers that stream (libarchive on a pipe, Java's `ZipInputStream`) need no data descriptor.

use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_zip::base::read::stream::ZipFileReader;
use async_zip::base::write::ZipFileWriter;
pub use async_zip::error::ZipError;
use async_zip::{AttributeCompatibility, Compression, ZipDateTimeBuilder, ZipEntryBuilder};
use bytes::Bytes;
use flate2::CrcWriter;
use flate2::write::DeflateEncoder;
use futures_util::FutureExt;
use futures_util::io::{AsyncWrite, AsyncWriteExt as _};
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, UtcOffset};

/// A regular file, `rw-r--r--`. Some readers do not accept an entry without the file type bits.
const MODE: u16 = 0o100_644;
/// A local header without a name, up to its extra field: an "extended timestamp" (0x5455) of 5 bytes
/// whose flags announce a modification time (Info-ZIP, "extrafld.txt"). The time follows.
const TIMESTAMP_HEADER: [u8; 35] =
    *b"PK\x03\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x09\0\
    UT\x05\0\x01";

/// The compression of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// None, for compressed formats: deflate shrinks PNG, GIF, WebP and JPEG by at most 3 %.
    Store,
    /// Deflate at level 1: BMP of pixel art shrinks to a tenth at 774 MB/s.
    DeflateFast,
}

impl Packing {
    /// Returns the compression for a file with this extension.
    #[must_use]
    pub fn of(extension: &str) -> Self {
        if extension == "bmp" { Self::DeflateFast } else { Self::Store }
    }
}

/// A deflated file. The uncompressed text, ten times larger, is never held.
#[derive(Debug, Clone)]
pub struct Deflated {
    bytes: Bytes,
    /// CRC of the uncompressed file.
    crc32: u32,
    /// Size of the uncompressed file, in bytes.
    size: u64,
}

/// Bytes buffered before each call of the compressor.
const WRITE_SIZE: usize = 32 * 1024;

/// A ZIP that is written to `W`. It is complete after [`ZipWriter::close`].
///
/// `async_zip` writes each entry as a ZIP of its own, whose end is not written: it would keep 0.6 KiB of
/// each entry until the end. So a local header does not depend on what precedes it, and of an entry its
/// record in the central directory remains, about 90 bytes.
pub struct ZipWriter<W> {
    sieve: Sieve<W>,
    directory: Directory,
    comment: Option<String>,
    /// An empty buffer for the end of a ZIP of one entry.
    end: Vec<u8>,
    /// Stands for bodies that do not pass through the writer: `async_zip` takes the size of an entry from
    /// its body. The sieve holds these bytes back without reading them, so the zeroed pages never become
    /// resident.
    absent: Vec<u8>,
}

/// What the central directory states about the body of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryBody {
    /// Whether the body is deflated.
    pub is_deflated: bool,
    /// CRC32 of the file.
    pub crc32: u32,
    /// Size of the file in bytes.
    pub size: u64,
    /// Size of the body in the archive, in bytes.
    pub stored_size: u64,
}

impl EntryBody {
    /// Returns the body of a stored file with this CRC32 and `size` bytes.
    #[must_use]
    pub fn stored(crc32: u32, size: u64) -> Self {
        Self { is_deflated: false, crc32, size, stored_size: size }
    }
}

impl<W: AsyncWrite + Unpin> ZipWriter<W> {
    /// Returns an empty ZIP.
    pub fn new(sink: W) -> Self {
        let sieve = Sieve { sink, absent: 0..0, is_shut: false, position: 0, end: None };
        let directory = Directory::default();
        Self { sieve, directory, comment: None, end: Vec::new(), absent: Vec::new() }
    }

    /// Adds a whole file, modified at this time if it is known. Returns what [`ZipWriter::replay`] needs.
    /// The caller ensures that names are unique.
    ///
    /// # Errors
    /// When the sink fails.
    pub async fn add(
        &mut self,
        name: &str,
        modified: Option<OffsetDateTime>,
        packing: Packing,
        bytes: &[u8],
    ) -> Result<EntryBody, ZipError> {
        match packing {
            Packing::Store => {
                let crc32 = crc32fast::hash(bytes);
                self.add_stored(name, modified, crc32, bytes).await?;
                Ok(EntryBody::stored(crc32, bytes.len() as u64))
            }
            Packing::DeflateFast => {
                let file = Deflated::fast([bytes])?;
                self.write_shaped(&file.shape(name, modified), &file.bytes).await?;
                Ok(file.body())
            }
        }
    }

    /// Adds an entry whose bytes are already in the sink: the sink gets none, and the central directory
    /// lists it. The entries of an archive that is joined from segments are replayed in their order,
    /// before any other is added.
    ///
    /// # Errors
    /// When the body is larger than the address space of the process.
    pub async fn replay(
        &mut self,
        name: &str,
        modified: Option<OffsetDateTime>,
        body: EntryBody,
    ) -> Result<(), ZipError> {
        self.sieve.is_shut = true;
        let added = self.add_absent(&Shape { name, modified, body }).await;
        self.sieve.is_shut = false;
        added
    }

    /// Returns the bytes of the archive that the writer has written or replayed, bodies included.
    pub fn position(&self) -> u64 {
        self.sieve.position
    }

    /// Adds a whole file that is stored and has this CRC32.
    ///
    /// # Errors
    /// When the sink fails.
    pub async fn add_stored(
        &mut self,
        name: &str,
        modified: Option<OffsetDateTime>,
        crc32: u32,
        bytes: &[u8],
    ) -> Result<(), ZipError> {
        let shape = Shape::stored(name, modified, crc32, bytes.len() as u64);
        self.write_shaped(&shape, bytes).await
    }

    /// Adds the header of a file that is stored, has this CRC32 and `size` bytes. The caller then writes
    /// exactly these bytes to the [sink](Self::sink), before anything else.
    ///
    /// # Errors
    /// When the sink fails, or the address space of the process is smaller than the file.
    pub async fn add_header(
        &mut self,
        name: &str,
        modified: Option<OffsetDateTime>,
        crc32: u32,
        size: u64,
    ) -> Result<(), ZipError> {
        self.add_absent(&Shape::stored(name, modified, crc32, size)).await
    }

    /// Adds the header of an entry of this form.
    async fn add_absent(&mut self, shape: &Shape<'_>) -> Result<(), ZipError> {
        let size = self.grow_absent(shape.body.stored_size)?;
        let absent = std::mem::take(&mut self.absent);
        let written = self.write_shaped(shape, &absent[..size]).await;
        self.absent = absent;
        written
    }

    /// Makes the absent body at least `size` bytes long. Returns `size`.
    fn grow_absent(&mut self, size: u64) -> Result<usize, ZipError> {
        let too_large = || io::Error::from(io::ErrorKind::FileTooLarge);
        let size = usize::try_from(size).map_err(|_| too_large())?;
        if size > self.absent.len() {
            self.absent = Vec::new();
            // `vec!` would end the process.
            Vec::<u8>::new().try_reserve_exact(size).map_err(|_| too_large())?;
            self.absent = vec![0; size];
            let start = self.absent.as_ptr().addr();
            self.sieve.absent = start..start + size;
        }
        Ok(size)
    }

    /// Adds a deflated file. The caller ensures that names are unique.
    ///
    /// # Errors
    /// When the sink fails.
    pub async fn add_deflated(
        &mut self,
        name: &str,
        modified: impl Into<Option<OffsetDateTime>>,
        file: &Deflated,
    ) -> Result<(), ZipError> {
        self.write_shaped(&file.shape(name, modified.into()), &file.bytes).await
    }

    /// Returns the sink.
    pub fn sink(&mut self) -> &mut W {
        &mut self.sieve.sink
    }

    /// Sets the comment, which [`ZipWriter::close`] writes at the very end.
    pub fn set_comment(&mut self, comment: String) {
        self.comment = Some(comment);
    }

    /// Writes the central directory and the comment, and returns the sink.
    ///
    /// # Errors
    /// When the sink fails.
    pub async fn close(mut self) -> Result<W, ZipError> {
        let Directory { records, entries } = std::mem::take(&mut self.directory);
        let start = self.sieve.position;
        let is_zip64 = entries > u16::MAX.into() || start > u32::MAX.into();
        let directory = Span { start, size: records.len() as u64, entries };
        let end = end(is_zip64, self.comment.take(), &directory).await?;
        self.sieve.sink.write_all(&records).await?;
        drop(records);
        self.sieve.sink.write_all(&end).await?;
        Ok(self.sieve.sink)
    }

    /// Writes an entry of this form, whose body as the archive contains it is `body`.
    async fn write_shaped(&mut self, shape: &Shape<'_>, body: &[u8]) -> Result<(), ZipError> {
        let compression =
            if shape.body.is_deflated { Compression::Deflate } else { Compression::Stored };
        let entry = entry(shape.name, shape.modified, compression)
            .crc32(shape.body.crc32)
            .uncompressed_size(shape.body.size);
        let offset = self.sieve.position;
        let mut zip = ZipFileWriter::new(&mut self.sieve);
        zip.write_entry_whole_precompressed(entry, body).await?;
        zip.inner_mut().end = Some(std::mem::take(&mut self.end));
        zip.close().await?;
        let end = self.sieve.end.take().unwrap_or_default();
        self.directory.push(&end, offset)?;
        self.end = end;
        self.end.clear();
        Ok(())
    }
}

/// The central directory of the entries so far.
#[derive(Default)]
struct Directory {
    /// The records, one after the other.
    records: Vec<u8>,
    entries: u64,
}

/// Size of a record without its name and extra field, and the positions of its fields (APPNOTE.TXT 6.3.10,
/// 4.3.12).
const RECORD_SIZE: usize = 46;
const RECORD_FILE_SIZE_AT: Range<usize> = 24..28;
const RECORD_NAME_LENGTH_AT: Range<usize> = 28..30;
const RECORD_EXTRA_LENGTH_AT: Range<usize> = 30..32;
const RECORD_OFFSET_AT: Range<usize> = 42..46;
/// The value of a field that is in the ZIP64 extra field.
const IN_ZIP64: [u8; 4] = [0xff; 4];
/// The ZIP64 extra field without values: its id, and their size (4.5.3).
const ZIP64_ID: [u8; 2] = 1_u16.to_le_bytes();
/// Size of the two sizes in that field, which precede an offset.
const ZIP64_SIZES: u16 = 16;

impl Directory {
    /// Adds the record of an entry at `offset`, from the end of a ZIP of this entry alone.
    fn push(&mut self, end: &[u8], offset: u64) -> Result<(), ZipError> {
        let malformed = || io::Error::from(io::ErrorKind::InvalidData);
        let fixed: &[u8; RECORD_SIZE] = end.first_chunk().ok_or_else(malformed)?;
        let length = |at: Range<usize>| u16::from_le_bytes([fixed[at.start], fixed[at.start + 1]]);
        let (name, extra) = (length(RECORD_NAME_LENGTH_AT), length(RECORD_EXTRA_LENGTH_AT));
        let size = RECORD_SIZE + usize::from(name) + usize::from(extra);
        let start = self.records.len();
        self.records.extend_from_slice(end.get(..size).ok_or_else(malformed)?);
        self.entries += 1;
        let mut set = |at: Range<usize>, value: &[u8]| {
            self.records[start + at.start..start + at.end].copy_from_slice(value);
        };
        if let Ok(offset) = u32::try_from(offset) {
            set(RECORD_OFFSET_AT, &offset.to_le_bytes());
            return Ok(());
        }
        set(RECORD_OFFSET_AT, &IN_ZIP64);
        let mut more = Vec::with_capacity(12);
        if fixed[RECORD_FILE_SIZE_AT] == IN_ZIP64 {
            // The last field has the sizes already.
            let at = size - usize::from(ZIP64_SIZES) - 2;
            set(at..at + 2, &(ZIP64_SIZES + 8).to_le_bytes());
        } else {
            more.extend(ZIP64_ID);
            more.extend(8_u16.to_le_bytes());
        }
        more.extend(offset.to_le_bytes());
        let extra = usize::from(extra) + more.len();
        let extra = u16::try_from(extra).map_err(|_| ZipError::ExtraFieldTooLarge)?;
        set(RECORD_EXTRA_LENGTH_AT, &extra.to_le_bytes());
        self.records.extend(more);
        Ok(())
    }
}

/// The place of the central directory in an archive.
struct Span {
    start: u64,
    size: u64,
    entries: u64,
}

/// Size of the ZIP64 end of central directory record and of its locator (4.3.14, 4.3.15).
const ZIP64_END_SIZE: usize = 56;
const ZIP64_LOCATOR_SIZE: usize = 20;

/// Returns what follows the central directory.
async fn end(
    is_zip64: bool,
    comment: Option<String>,
    directory: &Span,
) -> Result<Vec<u8>, ZipError> {
    let zip = ZipFileWriter::new(Vec::new());
    let mut zip = if is_zip64 { zip.force_zip64() } else { zip };
    if let Some(comment) = comment {
        zip.comment(comment);
    }
    let mut bytes = zip.close().await?;
    let Span { start, size, entries } = *directory;
    let mut set = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let mut record = 0;
    if is_zip64 {
        set(24, &entries.to_le_bytes());
        set(32, &entries.to_le_bytes());
        set(40, &size.to_le_bytes());
        set(48, &start.to_le_bytes());
        set(ZIP64_END_SIZE + 8, &(start + size).to_le_bytes());
        record = ZIP64_END_SIZE + ZIP64_LOCATOR_SIZE;
    }
    // The end of central directory record (4.3.16).
    let entries = u16::try_from(entries).unwrap_or(u16::MAX).to_le_bytes();
    set(record + 8, &entries);
    set(record + 10, &entries);
    set(record + 12, &u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
    set(record + 16, &u32::try_from(start).unwrap_or(u32::MAX).to_le_bytes());
    Ok(bytes)
}

fn entry(
    name: &str,
    modified: Option<OffsetDateTime>,
    compression: Compression,
) -> ZipEntryBuilder {
    let entry = ZipEntryBuilder::new(name.into(), compression)
        .attribute_compatibility(AttributeCompatibility::Unix)
        .unix_permissions(MODE)
        .last_modification_date(dos_time(modified.unwrap_or(OffsetDateTime::UNIX_EPOCH)));
    match modified.and_then(timestamp) {
        Some(seconds) => with_timestamp(entry, seconds),
        None => entry,
    }
}

impl Deflated {
    /// Deflates what `write` writes.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn new(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<Self> {
        let mut deflater = Deflater::new(usize::MAX);
        write(&mut deflater)?;
        deflater.finish()
    }

    /// Returns the deflated bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Deflates a file, whose bytes are in these pieces, at level 1 ([`Packing::DeflateFast`]).
    ///
    /// # Errors
    /// When the deflater fails.
    pub fn fast<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> io::Result<Self> {
        let mut deflater = Deflater::with_level(1);
        for piece in pieces {
            deflater.write_all(piece)?;
        }
        deflater.finish()
    }

    /// Returns the form of an entry of this file.
    pub(crate) fn shape<'a>(&self, name: &'a str, modified: Option<OffsetDateTime>) -> Shape<'a> {
        Shape { name, modified, body: self.body() }
    }

    /// Returns what the central directory states about this file.
    #[must_use]
    pub fn body(&self) -> EntryBody {
        let (crc32, size, stored_size) = (self.crc32, self.size, self.bytes.len() as u64);
        EntryBody { is_deflated: true, crc32, size, stored_size }
    }
}

/// All that the headers of an entry depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'a> {
    pub(crate) name: &'a str,
    pub(crate) modified: Option<OffsetDateTime>,
    pub(crate) body: EntryBody,
}

impl<'a> Shape<'a> {
    /// Returns the form of a stored file.
    pub(crate) fn stored(
        name: &'a str,
        modified: Option<OffsetDateTime>,
        crc32: u32,
        size: u64,
    ) -> Self {
        Self { name, modified, body: EntryBody::stored(crc32, size) }
    }
}

/// All bytes of an archive except the bodies of its entries.
#[derive(Debug)]
pub(crate) struct Frame {
    /// The local headers, followed by the tail.
    bytes: Vec<u8>,
    /// The end of each local header in `bytes`.
    ends: Vec<usize>,
}

/// Position of the CRC32 in a local header (APPNOTE.TXT 6.3.10, 4.3.7).
const CRC32_AT: Range<usize> = 14..18;

impl Frame {
    /// Writes the headers of these entries and the end of the archive.
    ///
    /// # Errors
    /// When a name, a number or a size has no place in a ZIP, or the address space of the process is
    /// smaller than an entry.
    pub(crate) fn new(shapes: &[Shape<'_>], comment: &str) -> Result<Self, ZipError> {
        let mut zip = ZipWriter::new(Vec::new());
        // Once, for the largest.
        zip.grow_absent(shapes.iter().map(|shape| shape.body.stored_size).max().unwrap_or(0))?;
        let mut ends = Vec::with_capacity(shapes.len());
        let writing = async {
            for shape in shapes {
                zip.add_absent(shape).await?;
                ends.push(zip.sink().len());
            }
            if !comment.is_empty() {
                zip.set_comment(comment.to_owned());
            }
            zip.close().await
        };
        let bytes = writing.now_or_never().ok_or_else(|| io::Error::other("the sink waited"))??;
        Ok(Self { bytes, ends })
    }

    fn header_range(&self, entry: usize) -> Range<usize> {
        let start = if entry == 0 { 0 } else { self.ends[entry - 1] };
        start..self.ends[entry]
    }

    /// Returns the size of the local header of an entry.
    pub(crate) fn header_size(&self, entry: usize) -> u64 {
        self.header_range(entry).len() as u64
    }

    /// Returns the local header of an entry with this CRC32.
    pub(crate) fn header(&self, entry: usize, crc32: u32) -> Bytes {
        let mut header = self.bytes[self.header_range(entry)].to_vec();
        header[CRC32_AT].copy_from_slice(&crc32.to_le_bytes());
        header.into()
    }

    /// Returns the central directory and what follows it.
    pub(crate) fn tail(&self) -> &[u8] {
        &self.bytes[self.ends.last().copied().unwrap_or(0)..]
    }
}

/// A sink without the absent body.
struct Sieve<W> {
    sink: W,
    /// The addresses of the absent body.
    absent: Range<usize>,
    /// Whether everything is held back.
    is_shut: bool,
    /// Bytes written, those held back included.
    position: u64,
    /// Takes all bytes instead of the sink, and without counting them: the end of a ZIP of one entry.
    end: Option<Vec<u8>>,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Sieve<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(end) = &mut self.end {
            end.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = if self.is_shut || self.absent.contains(&bytes.as_ptr().addr()) {
            bytes.len()
        } else {
            ready!(Pin::new(&mut self.sink).poll_write(cx, bytes))?
        };
        self.position += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.sink).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.sink).poll_close(cx)
    }
}

/// A writer that deflates a file at the default level.
pub struct Deflater(BufWriter<CrcWriter<DeflateEncoder<Capped>>>);

/// Bytes in memory, up to a maximum.
struct Capped {
    bytes: Vec<u8>,
    max: usize,
}

impl Deflater {
    /// Returns the writer of a file with at most `max` bytes in deflated form. Further bytes are an
    /// error of kind [`io::ErrorKind::FileTooLarge`].
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self::at(flate2::Compression::default(), max)
    }

    /// Returns the writer of a file that is deflated at this level, from 1 (fast) to 9 (small).
    #[must_use]
    pub fn with_level(level: u32) -> Self {
        Self::at(flate2::Compression::new(level), usize::MAX)
    }

    fn at(level: flate2::Compression, max: usize) -> Self {
        let deflate = DeflateEncoder::new(Capped { bytes: Vec::new(), max }, level);
        // Serializers write a few bytes at a time.
        Self(BufWriter::with_capacity(WRITE_SIZE, CrcWriter::new(deflate)))
    }

    /// Returns the deflated file.
    ///
    /// # Errors
    /// When the file is too large.
    pub fn finish(self) -> io::Result<Deflated> {
        let writer = self.0.into_inner().map_err(io::IntoInnerError::into_error)?;
        let (crc32, size) = (writer.crc().sum(), writer.get_ref().total_in());
        let bytes = writer.into_inner().finish()?.bytes.into();
        Ok(Deflated { bytes, crc32, size })
    }
}

impl Write for Deflater {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    // The buffer's own is inlined: it halves the time of a serializer.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.max - self.bytes.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Write::write(&mut self.bytes, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the value of the extended timestamp. The field has 32 bits: 7-Zip and libarchive read them
/// unsigned, Java signed, so they agree on 1970 to 2038 only. A time outside that range has no field.
fn timestamp(time: OffsetDateTime) -> Option<u32> {
    u32::try_from(i32::try_from(time.unix_timestamp()).ok()?).ok()
}

/// Adds the extended timestamp, in the same form to local header and central directory. Readers prefer
/// it to the DOS time: it is in UTC, whereas they take the DOS time for local time.
fn with_timestamp(entry: ZipEntryBuilder, seconds: u32) -> ZipEntryBuilder {
    let header = [&TIMESTAMP_HEADER[..], &seconds.to_le_bytes()].concat();
    // `async_zip` 0.0.19 writes extra fields, but exports no constructor for them; its reader makes one.
    let reading = ZipFileReader::new(&header[..]).next_with_entry();
    match reading.now_or_never() {
        Some(Ok(Some(read))) => entry.extra_fields(read.reader().entry().extra_fields().to_vec()),
        _ => entry,
    }
}

/// Returns the time in MS-DOS form, in UTC: 1980 to 2107, in steps of two seconds. A time outside that
/// range becomes the nearest one within it.
fn dos_time(time: OffsetDateTime) -> async_zip::ZipDateTime {
    let time = time.to_offset(UtcOffset::UTC);
    let builder = ZipDateTimeBuilder::new();
    match time.year() {
        ..1980 => builder.year(1980).month(1).day(1).hour(0).minute(0).second(0),
        2108.. => builder.year(2107).month(12).day(31).hour(23).minute(59).second(58),
        year => builder
            .year(year)
            .month(u8::from(time.month()).into())
            .day(time.day().into())
            .hour(time.hour().into())
            .minute(time.minute().into())
            .second(time.second().into()),
    }
    .build()
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Write as _};

    use futures_util::FutureExt;
    use futures_util::io::Cursor;
    use time::macros::datetime;

    use super::{Deflater, Packing, ZipWriter, dos_time};

    #[test]
    fn a_deflated_file_has_a_maximum_size() {
        let deflated = |max| {
            let mut deflater = Deflater::new(max);
            deflater.write_all(&vec![7; 1_000_000])?;
            deflater.finish()
        };
        let file = deflated(usize::MAX).unwrap();
        assert_eq!(file.size, 1_000_000);
        assert!(deflated(file.bytes.len()).is_ok());
        let error = deflated(file.bytes.len() - 1).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn an_entry_is_the_same_whichever_way_its_body_takes() {
        let time = Some(datetime!(2025-03-04 01:02:07 UTC));
        let body: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let crc32 = crc32fast::hash(&body);
        let written = |way: usize| {
            let written = async {
                let mut zip = ZipWriter::new(Vec::new());
                for (name, body) in [("a", &body[..]), ("b", &body[..700]), ("c", &[])] {
                    let crc32 = if name == "a" { crc32 } else { crc32fast::hash(body) };
                    match way {
                        0 => drop(zip.add(name, time, Packing::Store, body).await.unwrap()),
                        1 => zip.add_stored(name, time, crc32, body).await.unwrap(),
                        _ => {
                            let size = body.len() as u64;
                            zip.add_header(name, time, crc32, size).await.unwrap();
                            zip.sink().extend_from_slice(body);
                        }
                    }
                }
                zip.close().await.unwrap()
            };
            written.now_or_never().unwrap()
        };
        assert!(written(0) == written(1) && written(0) == written(2));
    }

    #[test]
    fn segments_and_replayed_entries_are_the_archive_of_one_writer() {
        let now = datetime!(2025-03-04 01:02:07 UTC);
        let time = Some(now);
        let bitmap = vec![7; 100_000];
        let files = [
            ("a.png", time, &b"pixels"[..]),
            ("b.bmp", None, &bitmap[..]),
            ("empty.png", time, b""),
            ("c.png", time, b"more"),
        ];
        let packing = |name: &str| Packing::of(name.rsplit_once('.').unwrap().1);
        let document = super::Deflated::new(|writer| writer.write_all(b"{}")).unwrap();
        let written = async {
            let mut whole = ZipWriter::new(Cursor::new(Vec::new()));
            for (name, time, bytes) in files {
                whole.add(name, time, packing(name), bytes).await.unwrap();
            }
            whole.add_deflated("d.json", now, &document).await.unwrap();
            whole.set_comment("words".to_owned());
            let whole = whole.close().await.unwrap().into_inner();

            let (mut joined, mut bodies) = (Vec::new(), Vec::new());
            for files in files.chunks(3) {
                let mut segment = ZipWriter::new(Cursor::new(Vec::new()));
                for (name, time, bytes) in files {
                    bodies.push(segment.add(name, *time, packing(name), bytes).await.unwrap());
                }
                joined.extend_from_slice(segment.sink().get_ref());
            }
            let end = joined.len() as u64;
            let mut sink = Cursor::new(joined);
            sink.set_position(end);
            let mut zip = ZipWriter::new(sink);
            for ((name, time, _), body) in files.iter().zip(bodies) {
                zip.replay(name, *time, body).await.unwrap();
            }
            assert_eq!(zip.position(), end);
            zip.add_deflated("d.json", now, &document).await.unwrap();
            zip.set_comment("words".to_owned());
            (whole, zip.close().await.unwrap().into_inner())
        };
        let (whole, joined) = written.now_or_never().unwrap();
        assert!(whole == joined, "{} and {} bytes", whole.len(), joined.len());
    }

    /// Writes headers of entries with these sizes, whose bodies are left out, by [`ZipWriter`] or by
    /// `async_zip` alone.
    fn headers(sizes: &[u64], alone: bool) -> Vec<u8> {
        let time = Some(datetime!(2025-03-04 01:02:07 UTC));
        let written = async {
            let mut zip = ZipWriter::new(Vec::new());
            zip.grow_absent(sizes.iter().copied().max().unwrap()).unwrap();
            let absent = std::mem::take(&mut zip.absent);
            let sieve = super::Sieve { sink: Vec::new(), end: None, ..zip.sieve };
            let mut reference = async_zip::base::write::ZipFileWriter::new(sieve);
            let mut zip = ZipWriter::new(Vec::new());
            for (number, size) in (0..).zip(sizes) {
                let name = format!("{number}.png");
                if alone {
                    let entry = super::entry(&name, time, async_zip::Compression::Stored);
                    let entry = entry.crc32(7_u32).uncompressed_size(*size);
                    let body = &absent[..usize::try_from(*size).unwrap()];
                    reference.write_entry_whole_precompressed(entry, body).await.unwrap();
                } else {
                    zip.add_header(&name, time, 7, *size).await.unwrap();
                }
            }
            if alone {
                reference.comment("words".to_owned());
                return reference.close().await.unwrap().sink;
            }
            zip.set_comment("words".to_owned());
            zip.close().await.unwrap()
        };
        written.now_or_never().unwrap()
    }

    #[test]
    fn a_zip_has_the_bytes_that_async_zip_writes() {
        const GIB: u64 = 1 << 30;
        let many = vec![0; 65_535];
        let more = vec![0; 65_536];
        for sizes in [
            &[1, 2, 3][..],
            &[3 * GIB, GIB, 0, GIB, 5],
            &[4 * GIB - 50, 7, 4 * GIB - 100, 7],
            &[5 * GIB],
            &many,
            &more,
        ] {
            let (own, alone) = (headers(sizes, false), headers(sizes, true));
            let place = own.iter().zip(&alone).position(|(own, alone)| own != alone);
            assert_eq!(
                (own.len(), place),
                (alone.len(), None),
                "{:?}",
                &sizes[..sizes.len().min(5)]
            );
        }
    }

    #[test]
    fn a_local_header_does_not_depend_on_what_precedes_it() {
        const GIB: u64 = 1 << 30;
        let header = |before: &[u64], size| {
            let written = async {
                let mut zip = ZipWriter::new(Vec::new());
                for size in before {
                    zip.add_header("before", None, 7, *size).await.unwrap();
                }
                let start = zip.sink().len();
                zip.add_header("a.mp4", None, 7, size).await.unwrap();
                zip.sink().split_off(start)
            };
            written.now_or_never().unwrap()
        };
        for size in [7, 5 * GIB] {
            assert_eq!(header(&[], size), header(&[3 * GIB, 3 * GIB], size), "{size}");
        }
    }

    #[test]
    fn only_bitmaps_are_deflated() {
        assert_eq!(Packing::of("bmp"), Packing::DeflateFast);
        assert_eq!(Packing::of("png"), Packing::Store);
    }

    #[test]
    fn times_beyond_dos_become_the_nearest_possible() {
        let parts = |time| {
            let t = dos_time(time);
            (t.year(), t.month(), t.day(), t.hour(), t.minute(), t.second())
        };
        assert_eq!(parts(datetime!(1969-07-20 20:17 UTC)), (1980, 1, 1, 0, 0, 0));
        assert_eq!(parts(datetime!(9999-01-01 0:00 UTC)), (2107, 12, 31, 23, 59, 58));
        assert_eq!(parts(datetime!(2025-03-04 01:02:07 +3)), (2025, 3, 3, 22, 2, 6));
    }

    #[test]
    fn both_headers_carry_the_timestamp_that_readers_agree_on() {
        let fields = |time| {
            let written = async {
                let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
                zip.add("a", time, Packing::Store, b"").await.unwrap();
                zip.close().await.unwrap().into_inner()
            };
            let zip = written.now_or_never().unwrap();
            let found = zip.windows(9).filter(|bytes| bytes.starts_with(b"UT\x05\0"));
            found.map(|bytes| bytes[4..].to_vec()).collect::<Vec<_>>()
        };
        let both = |bytes: [u8; 5]| vec![bytes.to_vec(); 2];
        let none = Vec::<Vec<u8>>::new();
        assert_eq!(fields(None), none);
        assert_eq!(fields(Some(datetime!(1969-12-31 23:59:59 UTC))), none);
        assert_eq!(fields(Some(datetime!(1970-01-01 0:00 UTC))), both([1, 0, 0, 0, 0]));
        let odd = fields(Some(datetime!(2025-03-04 01:02:07 +3)));
        assert_eq!(odd, both([1, 0xdf, 0x26, 0xc6, 0x67]));
        let last = fields(Some(datetime!(2038-01-19 03:14:07 UTC)));
        assert_eq!(last, both([1, 255, 255, 255, 127]));
        assert_eq!(fields(Some(datetime!(2038-01-19 03:14:08 UTC))), none);
    }
}
