//! ZIP files, read by a library that shares no code with the one that writes them.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use serde_json::Value;
use zip::ZipArchive;

/// A ZIP in memory.
pub struct ZipFile {
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl ZipFile {
    /// Returns the names of the entries, in the order of the central directory.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let archive = self.open();
        archive.file_names().map(|name| name.unwrap().into_owned()).collect()
    }

    /// Returns the content of an entry, after a check of its CRC.
    #[must_use]
    pub fn content(&self, name: &str) -> Vec<u8> {
        let mut archive = self.open();
        let mut entry = archive.by_name(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        content
    }

    /// Returns the contents of all entries by name, after a check of their CRCs.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let mut archive = self.open();
        let content = |index| {
            let mut entry = archive.by_index(index).unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.name().unwrap().into_owned(), content)
        };
        (0..self.names().len()).map(content).collect()
    }

    /// Returns the content of a JSON entry.
    #[must_use]
    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.content(name)).unwrap()
    }

    /// Returns a line for each entry: method, mode, modification time, size, CRC, name.
    #[must_use]
    pub fn listing(&self) -> String {
        let mut archive = self.open();
        let line = |index| {
            let entry = archive.by_index(index).unwrap();
            let (method, mode) = (entry.compression().to_string(), entry.unix_mode().unwrap());
            let (modified, size, crc) =
                (entry.last_modified().unwrap(), entry.size(), entry.crc32());
            let name = entry.name().unwrap();
            format!("{method:<8} {mode:o} {modified} {size:>6} {crc:08x} {name}\n")
        };
        (0..self.names().len()).map(line).collect()
    }

    fn open(&self) -> ZipArchive<Cursor<&[u8]>> {
        ZipArchive::new(Cursor::new(&self.bytes[..])).expect("a ZIP")
    }
}
