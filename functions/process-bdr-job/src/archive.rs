//! The ZIP. Knows entries and bytes, and nothing of where they come from or go to.
//!
//! Every entry is whole before its local header is written, so that the header has size and CRC:
//! readers that stream (libarchive on a pipe, Java's `ZipInputStream`) need no data descriptor.

use async_zip::base::write::ZipFileWriter;
use async_zip::error::ZipError;
use async_zip::{
    AttributeCompatibility, Compression, DeflateOption, ZipDateTimeBuilder, ZipEntryBuilder,
};
use futures_util::io::AsyncWrite;
use time::{OffsetDateTime, UtcOffset};

/// A regular file, `rw-r--r--`; without the type bits some readers take it for none.
const MODE: u16 = 0o100_644;

/// Whether and how an entry is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As it is. For what is compressed already: deflating PNG, GIF, WebP or JPEG wins at most 3 %.
    Store,
    /// Deflate, quickly: pixel-art BMP shrinks to a tenth at 774 MB/s.
    DeflateFast,
    /// Deflate at the usual level, for text.
    Deflate,
}

/// A ZIP being written to `W`. Without [`Archive::close`] it is no ZIP.
pub struct Archive<W> {
    zip: ZipFileWriter<W>,
}

impl<W: AsyncWrite + Unpin> Archive<W> {
    /// An empty ZIP.
    pub fn new(sink: W) -> Self {
        Self { zip: ZipFileWriter::new(sink) }
    }

    /// Adds a whole file. The caller sees to it that no name comes twice.
    ///
    /// # Errors
    /// When the sink fails.
    pub async fn add(
        &mut self,
        name: &str,
        modified: OffsetDateTime,
        packing: Packing,
        bytes: &[u8],
    ) -> Result<(), ZipError> {
        let (compression, option) = match packing {
            Packing::Store => (Compression::Stored, DeflateOption::Normal),
            Packing::DeflateFast => (Compression::Deflate, DeflateOption::Other(1)),
            Packing::Deflate => (Compression::Deflate, DeflateOption::Normal),
        };
        let entry = ZipEntryBuilder::new(name.into(), compression)
            .deflate_option(option)
            .attribute_compatibility(AttributeCompatibility::Unix)
            .unix_permissions(MODE)
            .last_modification_date(dos_time(modified));
        self.zip.write_entry_whole(entry, bytes).await
    }

    /// Writes the central directory and returns the sink.
    ///
    /// # Errors
    /// When the sink fails.
    pub async fn close(self) -> Result<W, ZipError> {
        self.zip.close().await
    }
}

/// The time as MS-DOS has it, in UTC: from 1980 to 2107, in steps of two seconds. What lies outside
/// becomes the nearest that can be said.
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
    use time::macros::datetime;

    use super::dos_time;

    #[test]
    fn times_that_dos_cannot_say_become_the_nearest_it_can() {
        let said = |time| {
            let t = dos_time(time);
            (t.year(), t.month(), t.day(), t.hour(), t.minute(), t.second())
        };
        assert_eq!(said(datetime!(1969-07-20 20:17 UTC)), (1980, 1, 1, 0, 0, 0));
        assert_eq!(said(datetime!(9999-01-01 0:00 UTC)), (2107, 12, 31, 23, 59, 58));
        assert_eq!(said(datetime!(2025-03-04 01:02:07 +3)), (2025, 3, 3, 22, 2, 6));
    }
}
