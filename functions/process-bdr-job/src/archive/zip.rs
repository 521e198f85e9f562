//! The ZIP writer: entries and bytes into a sink, without knowledge of AWS.
//!
//! Every entry is complete before its local header is written, so that the header holds size and CRC:
//! readers that stream (libarchive on a pipe, Java's `ZipInputStream`) need no data descriptor.

use std::io::{self, BufWriter, Write};

use async_zip::base::read::stream::ZipFileReader;
use async_zip::base::write::ZipFileWriter;
pub use async_zip::error::ZipError;
use async_zip::{
    AttributeCompatibility, Compression, DeflateOption, ZipDateTimeBuilder, ZipEntryBuilder,
};
use flate2::CrcWriter;
use flate2::write::DeflateEncoder;
use futures_util::FutureExt;
use futures_util::io::AsyncWrite;
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
pub struct Deflated {
    bytes: Vec<u8>,
    /// CRC of the uncompressed file.
    crc32: u32,
    /// Size of the uncompressed file, in bytes.
    size: u64,
}

/// Bytes buffered before each call of the compressor.
const WRITE_SIZE: usize = 32 * 1024;

/// A ZIP that is written to `W`. It is complete after [`ZipWriter::close`].
pub struct ZipWriter<W> {
    zip: ZipFileWriter<W>,
}

impl<W: AsyncWrite + Unpin> ZipWriter<W> {
    /// Returns an empty ZIP.
    pub fn new(sink: W) -> Self {
        Self { zip: ZipFileWriter::new(sink) }
    }

    /// Adds a whole file, modified at this time if it is known. The caller ensures that names are
    /// unique.
    ///
    /// # Errors
    /// When the sink fails.
    pub async fn add(
        &mut self,
        name: &str,
        modified: Option<OffsetDateTime>,
        packing: Packing,
        bytes: &[u8],
    ) -> Result<(), ZipError> {
        let entry = match packing {
            Packing::Store => entry(name, modified, Compression::Stored),
            Packing::DeflateFast => {
                entry(name, modified, Compression::Deflate).deflate_option(DeflateOption::Other(1))
            }
        };
        self.zip.write_entry_whole(entry, bytes).await
    }

    /// Adds a deflated file. The caller ensures that names are unique.
    ///
    /// # Errors
    /// When the sink fails.
    pub async fn add_deflated(
        &mut self,
        name: &str,
        modified: OffsetDateTime,
        file: &Deflated,
    ) -> Result<(), ZipError> {
        let entry = entry(name, Some(modified), Compression::Deflate)
            .crc32(file.crc32)
            .uncompressed_size(file.size);
        self.zip.write_entry_whole_precompressed(entry, &file.bytes).await
    }

    /// Sets the comment, which [`ZipWriter::close`] writes at the very end.
    pub fn set_comment(&mut self, comment: String) {
        self.zip.comment(comment);
    }

    /// Writes the central directory and the comment, and returns the sink.
    ///
    /// # Errors
    /// When the sink fails.
    pub async fn close(self) -> Result<W, ZipError> {
        self.zip.close().await
    }
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
        let deflate =
            DeflateEncoder::new(Capped { bytes: Vec::new(), max }, flate2::Compression::default());
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
        Ok(Deflated { bytes: writer.into_inner().finish()?.bytes, crc32, size })
    }
}

impl Write for Deflater {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
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
        self.bytes.write(bytes)
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
