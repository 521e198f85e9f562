//! What `presign-bdr-download` returns.

mod download;
