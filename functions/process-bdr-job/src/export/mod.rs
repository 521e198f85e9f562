//! Large exports: archives that one attempt cannot make within its time.
//!
//! ```text
//! attempt:        artworks ──▶ upload of the ZIP │ full ──▶ plan ──▶ state machine ──▶ acknowledge
//! write_segment:  part i of the plan ──▶ segment i, manifest i          (many at a time)
//! finish_export:  upload ◀── segments, copied by S3; documents; central directory ──▶ ready ──▶ e-mail
//! fail_export:    row failed ──▶ e-mail          (after a permanent failure, or the state machine's retries)
//! ```
//!
//! A request that ends before a segment is full sends no request more than without all this. The row stays
//! `processing` meanwhile, with the token of the attempt that began the export: an export whose token the row
//! no longer has changes nothing.

mod begin;
mod event;
mod finish;
mod plan;
mod segment;

pub use event::{ExportAnswer, ExportEvent};
