//! What must hold whatever comes in. Each module takes one kind of hostile input and panics when a
//! property does not hold.
//!
//! The fuzz targets in `fuzz/` are these functions and nothing else. The same functions are run by
//! the ordinary tests on the corpus that fuzzing has left, and on random input.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "this is test code: a panic is how it says what is wrong"
)]

pub mod address;
pub mod hostile;
pub mod message;
pub mod names;
pub mod redirect;
pub mod signature;

/// A property of any bytes; panics where it does not hold.
pub type Property = fn(&[u8]);

/// The properties by the names of their fuzz targets, which are also their folders in `fuzz/corpus/`.
pub const PROPERTIES: [(&str, Property); 5] = [
    ("message", message::check),
    ("address", address::check),
    ("names", names::check),
    ("redirect", redirect::check),
    ("signature", signature::check),
];
