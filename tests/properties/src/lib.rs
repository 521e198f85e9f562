//! Properties that hold for any input. Each module checks one kind of hostile input and panics if a
//! property does not hold.
//!
//! The fuzz targets in `fuzz/` only call these functions. The ordinary tests run the same functions
//! on the corpus that fuzzing has produced, and on random input.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "this is test code: a panic reports what is wrong"
)]

pub mod address;
pub mod forecast;
pub mod gallery;
pub mod hostile;
pub mod message;
pub mod names;
pub mod redirect;
pub mod signature;

/// A property of any bytes; panics if it does not hold.
pub type Property = fn(&[u8]);

/// The properties by the names of their fuzz targets, which also name the folders in
/// `fuzz/corpus/`.
pub const PROPERTIES: [(&str, Property); 6] = [
    ("message", message::check),
    ("address", address::check),
    ("names", names::check),
    ("redirect", redirect::check),
    ("signature", signature::check),
    ("gallery", gallery::check),
];
