//! The division of the function's memory.
//!
//! ```text
//! peak = fetch budget                             fetched, unwritten files
//!      + max(2 × largest artwork,                 one artwork beside its deflated form;
//!            deflated comments.json)              after the artworks the comments
//!      + SPARE_BUFFERS                            ends of buffers
//!      + part memory                              the upload
//!      + about 1 KiB an artwork, and its texts    its post and its central directory record; of the posts
//!                                                 of a large export, three pages of 20,000 at most
//!      + RESERVE                                  the binary, clients, TLS sessions, open bodies
//! ```
//!
//! The page, `index.html`, is made when the other documents are written and no longer held. Its comments
//! are limited to 4 MiB; beside a largest `comments.json` they fit into the memory of an artwork's deflated
//! form.
//!
//! The peak does not depend on the size of the archive. A description of 2 KB costs 3.1 KiB: the text,
//! and its deflated bytes in `metadata.json`. Comments are streamed and cost their deflated bytes, about
//! 85 for a comment of 100 B; an archive whose comments exceed `max_document_bytes` fails. `bdr-bench
//! texts` measured 122 MiB for 20,000 such descriptions and 130 MiB for a million such comments, each
//! with 35 MiB of part buffers.

use shared::vault::{MIN_PART_MEMORY, SPARE_BUFFERS};

/// Bytes in a MiB.
pub const MIB: u64 = 1024 * 1024;
/// Memory of the process beside the bytes that it moves; `tests/bench` measures it.
const RESERVE: u64 = 32 * MIB;
/// Maximum memory for parts: two of 28 MiB. Parts of 5 MiB for 15 GB cost ten times as much as the function, those
/// of 28 MiB two to three times as much. With 60 MiB, 15.7 GB took 96 MiB in all instead of 92.
const MAX_PART_MEMORY: u64 = 56 * MIB;
/// The function's memory divided by this is the memory for parts.
const PART_DIVISOR: u64 = 8;
/// Maximum fetch budget. A larger one gains nothing: the files wait longer for the upload.
const MAX_BUDGET: u64 = 11 * MIB;
/// Minimum fetch budget.
const MIN_BUDGET: u64 = MIB;

/// The function's memory, divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// The function's memory in bytes. Its share of a CPU is proportional.
    pub function_bytes: u64,
    /// Bytes of artworks that are held at once, fetched and not yet written. A larger artwork is held
    /// alone, or in pieces.
    pub fetch_budget: u64,
    /// Bytes for the parts of the upload.
    pub part_memory: u64,
    /// Maximum size of an artwork in bytes.
    pub max_artwork_bytes: u64,
    /// Maximum size of a deflated document in bytes. It is written when no artwork is held.
    pub max_document_bytes: u64,
    /// Whether `max_artwork_bytes` is lower than requested, to fit the function's memory.
    pub lowered: bool,
}

impl Memory {
    /// Divides `function_bytes`. `max_artwork_bytes` is the operator's setting.
    #[must_use]
    pub fn plan(function_bytes: u64, max_artwork_bytes: u64) -> Self {
        let part_memory =
            (function_bytes / PART_DIVISOR).clamp(MIN_PART_MEMORY as u64, MAX_PART_MEMORY);
        let other = RESERVE + SPARE_BUFFERS as u64 + part_memory;
        let left = function_bytes.saturating_sub(other).max(2 * MIN_BUDGET);
        let fetch_budget = (left / 2).clamp(MIN_BUDGET, MAX_BUDGET);
        let affordable = (left - fetch_budget) / 2;
        Self {
            function_bytes,
            fetch_budget,
            part_memory,
            max_artwork_bytes: max_artwork_bytes.min(affordable),
            max_document_bytes: affordable,
            lowered: max_artwork_bytes > affordable,
        }
    }

    /// Returns the peak by the formula in bytes, without the artworks' records.
    #[must_use]
    pub fn peak(&self) -> u64 {
        let largest = (2 * self.max_artwork_bytes).max(self.max_document_bytes);
        let buffers = SPARE_BUFFERS as u64 + self.part_memory;
        self.fetch_budget + largest + buffers + RESERVE
    }
}

#[cfg(test)]
mod tests {
    use super::{MIB, Memory};

    #[test]
    fn the_peak_fits_and_small_functions_lower_the_limit() {
        for (function, lowered) in [(128, true), (256, false), (512, false), (10_240, false)] {
            let memory = Memory::plan(function * MIB, 64 * MIB);
            assert!(memory.peak() <= function * MIB, "{function}: {memory:?}");
            assert_eq!(memory.lowered, lowered, "{function}: {memory:?}");
        }
        assert_eq!(Memory::plan(128 * MIB, 64 * MIB).max_artwork_bytes, 45 * MIB / 2);
        let of_512 = Memory::plan(512 * MIB, 64 * MIB);
        assert_eq!((of_512.fetch_budget, of_512.part_memory), (11 * MIB, 56 * MIB));
    }
}
