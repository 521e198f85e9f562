//! Scenarios of `presign-bdr-download`.

mod browser;
mod download;
