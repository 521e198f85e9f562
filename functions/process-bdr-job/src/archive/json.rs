//! A writer of JSON with an indentation of two spaces, a value at a time: what `serde_json` writes for the
//! whole document, which is never held.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use time::OffsetDateTime;
use time::serde::rfc3339;

/// A time in RFC 3339.
#[derive(Serialize)]
pub(super) struct Time(#[serde(with = "rfc3339")] pub(super) OffsetDateTime);

/// A document that is being written.
pub(super) struct JsonWriter<W> {
    writer: W,
    format: PrettyFormatter<'static>,
}

impl<W: Write> JsonWriter<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer, format: PrettyFormatter::new() }
    }

    pub(super) fn begin_object(&mut self) -> io::Result<()> {
        self.format.begin_object(&mut self.writer)
    }

    pub(super) fn end_object(&mut self) -> io::Result<()> {
        self.format.end_object(&mut self.writer)
    }

    pub(super) fn begin_array(&mut self) -> io::Result<()> {
        self.format.begin_array(&mut self.writer)
    }

    pub(super) fn end_array(&mut self) -> io::Result<()> {
        self.format.end_array(&mut self.writer)
    }

    /// Begins a member of the current object, up to its value.
    pub(super) fn begin_member(&mut self, name: &str, is_first: bool) -> io::Result<()> {
        self.format.begin_object_key(&mut self.writer, is_first)?;
        serde_json::to_writer(&mut self.writer, name)?;
        self.format.end_object_key(&mut self.writer)?;
        self.format.begin_object_value(&mut self.writer)
    }

    pub(super) fn end_member(&mut self) -> io::Result<()> {
        self.format.end_object_value(&mut self.writer)
    }

    /// Writes a member of the current object.
    pub(super) fn member(
        &mut self,
        name: &str,
        is_first: bool,
        value: &impl Serialize,
    ) -> io::Result<()> {
        self.begin_member(name, is_first)?;
        self.value(value)?;
        self.end_member()
    }

    /// Writes an item of the current array.
    pub(super) fn item(&mut self, is_first: bool, value: &impl Serialize) -> io::Result<()> {
        self.format.begin_array_value(&mut self.writer, is_first)?;
        self.value(value)?;
        self.format.end_array_value(&mut self.writer)
    }

    /// Writes the value of the current member.
    pub(super) fn value(&mut self, value: &impl Serialize) -> io::Result<()> {
        // The clone has the indentation of this place.
        let mut serializer = Serializer::with_formatter(&mut self.writer, self.format.clone());
        Ok(value.serialize(&mut serializer)?)
    }

    /// Returns the writer of the complete document.
    pub(super) fn finish(self) -> W {
        self.writer
    }
}
