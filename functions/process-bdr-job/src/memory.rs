//! The division of the function's memory.
//!
//! ```text
//! peak = fetch budget                             fetched, unwritten files
//!      + max(2 × largest artwork,                 one artwork beside its deflated form;
//!            deflated comments.json)              after the artworks the comments
//!      + KEPT_BUFFERS                             idle buffers for large artworks
//!      + PART_BUFFERS × part size                 the upload
//!      + about 1 KiB an artwork, and its texts    its post and its central directory record
//!      + RESERVE                                  the binary, clients, TLS sessions, open bodies
//! ```
//!
//! The peak does not depend on the size of the archive. A description of 2 KB costs 3.1 KiB: the text,
//! and its deflated bytes in `metadata.json`. Comments are streamed and cost their deflated bytes, about
//! 85 for a comment of 100 B; an archive whose comments exceed `max_document_bytes` fails. `bdr-bench
//! texts` measured 122 MiB for 20,000 such descriptions and 130 MiB for a million such comments, each
//! with 35 MiB of part buffers.

use shared::vault::{KEPT_BUFFERS, PART_BUFFERS, part_size};

/// Bytes in a MiB.
pub const MIB: u64 = 1024 * 1024;
/// Memory of the process beside the bytes that it moves; `tests/bench` measures it.
const RESERVE: u64 = 32 * MIB;
/// Memory of large buffers beside the fetch budget.
const BUFFERS: u64 = (KEPT_BUFFERS + PART_BUFFERS * part_size(1)) as u64;
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
    /// alone.
    pub fetch_budget: u64,
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
        let left = function_bytes.saturating_sub(RESERVE + BUFFERS).max(2 * MIN_BUDGET);
        let fetch_budget = (left / 2).clamp(MIN_BUDGET, MAX_BUDGET);
        let affordable = (left - fetch_budget) / 2;
        Self {
            function_bytes,
            fetch_budget,
            max_artwork_bytes: max_artwork_bytes.min(affordable),
            max_document_bytes: affordable,
            lowered: max_artwork_bytes > affordable,
        }
    }

    /// Returns the peak by the formula in bytes, without the artworks' records.
    #[must_use]
    pub fn peak(&self) -> u64 {
        let largest = (2 * self.max_artwork_bytes).max(self.max_document_bytes);
        self.fetch_budget + largest + BUFFERS + RESERVE
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
        assert_eq!(Memory::plan(128 * MIB, 64 * MIB).max_artwork_bytes, 19 * MIB);
        assert_eq!(Memory::plan(512 * MIB, 64 * MIB).fetch_budget, 11 * MIB);
    }
}
