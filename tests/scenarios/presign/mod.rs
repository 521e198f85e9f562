//! Scenarios of `presign-bdr-download`.

mod download;
