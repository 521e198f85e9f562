//! Looking into a ZIP with a library that shares no code with the one that wrote it.

use std::fmt::Write as _;
use std::io::{Cursor, Read};

use serde_json::Value;
use zip::ZipArchive;

/// A ZIP in memory.
pub struct ZipFile {
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl ZipFile {
    /// The names of the entries, in the order of the central directory.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let archive = self.open();
        archive.file_names().map(|name| name.unwrap().into_owned()).collect()
    }

    /// The content of an entry, its CRC checked.
    #[must_use]
    pub fn content(&self, name: &str) -> Vec<u8> {
        let mut archive = self.open();
        let mut entry = archive.by_name(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        content
    }

    /// The content of a JSON entry.
    #[must_use]
    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.content(name)).unwrap()
    }

    /// A line an entry: method, mode, modification time, size, CRC, name.
    #[must_use]
    pub fn listing(&self) -> String {
        let mut archive = self.open();
        let mut listing = String::new();
        for index in 0..archive.len() {
            let entry = archive.by_index(index).unwrap();
            let modified = entry.last_modified().unwrap();
            writeln!(
                listing,
                "{:<8} {:o} {modified} {:>6} {:08x} {}",
                entry.compression().to_string(),
                entry.unix_mode().unwrap(),
                entry.size(),
                entry.crc32(),
                entry.name().unwrap(),
            )
            .unwrap();
        }
        listing
    }

    fn open(&self) -> ZipArchive<Cursor<&[u8]>> {
        ZipArchive::new(Cursor::new(&self.bytes[..])).expect("a ZIP")
    }
}
