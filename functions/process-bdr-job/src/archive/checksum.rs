//! SHA-256 checksums of the files in the archive, computed as the bytes pass, and `SHA256SUMS`.

use std::fmt;
use std::io::{self, BufWriter, Write};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use zip_to_s3::zip::{Deflated, Deflater};

/// Size of the writes to the hash and the deflater, in bytes.
const WRITE_SIZE: usize = 32 * 1024;

/// The SHA-256 of a file, as hexadecimal digits where it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum([u8; 32]);

impl Checksum {
    /// Returns the checksum of a whole file, whose bytes are in these pieces. The `sha2` crate uses the
    /// processor's instructions where it has them (SHA-NI, `ARMv8`).
    #[must_use]
    pub fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        pieces.into_iter().for_each(|piece| hash.update(piece));
        Self::of_all(hash)
    }

    /// Returns the checksum of the bytes that `hash` has read.
    pub(super) fn of_all(hash: Sha256) -> Self {
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(&text, &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

/// A document of the archive, deflated.
pub(super) struct Document {
    pub(super) file: Deflated,
    /// The checksum of the text, if asked for.
    pub(super) checksum: Option<Checksum>,
}

/// A writer that deflates a document and, if asked for, computes its checksum.
pub(super) struct DocumentWriter(BufWriter<Hashing>);

/// A deflater, and the hash of what it deflates.
struct Hashing {
    deflater: Deflater,
    hash: Option<Sha256>,
}

impl DocumentWriter {
    /// Returns the writer of a document with at most `max` bytes in deflated form, as [`Deflater::new`].
    pub(super) fn new(max: usize, hashed: bool) -> Self {
        Self::of(Deflater::new(max), hashed)
    }

    /// Returns the writer of a document that is deflated at this level, from 1 (fast) to 9 (small).
    pub(super) fn with_level(level: u32, hashed: bool) -> Self {
        Self::of(Deflater::with_level(level), hashed)
    }

    fn of(deflater: Deflater, hashed: bool) -> Self {
        let hashing = Hashing { deflater, hash: hashed.then(Sha256::new) };
        // Serializers write a few bytes at a time, of which a hash costs more than of one block.
        Self(BufWriter::with_capacity(WRITE_SIZE, hashing))
    }

    /// Returns the document.
    ///
    /// # Errors
    /// When it is too large.
    pub(super) fn finish(self) -> io::Result<Document> {
        let Hashing { deflater, hash } =
            self.0.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Document { file: deflater.finish()?, checksum: hash.map(Checksum::of_all) })
    }
}

impl Write for DocumentWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    // The buffer's own is inlined.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.deflater.write(bytes)?;
        if let Some(hash) = &mut self.hash {
            hash.update(&bytes[..written]);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.deflater.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{Checksum, DocumentWriter};

    /// FIPS 180-4, the example of one block.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_file_and_a_document_have_the_standard_checksum() {
        assert_eq!(Checksum::of([&b"a"[..], b"bc"]).to_string(), ABC);
        let document = |hashed| {
            let mut writer = DocumentWriter::new(usize::MAX, hashed);
            writer.write_all(b"a").and_then(|()| writer.write_all(b"bc")).unwrap();
            writer.finish().unwrap()
        };
        assert_eq!(document(true).checksum, Some(Checksum::of([&b"abc"[..]])));
        assert_eq!(document(false).checksum, None);
    }
}
