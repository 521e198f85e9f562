//! Bounded memory is arithmetic.
//!
//! ```text
//! peak = max(fetch budget, 2 × largest artwork)   bodies fetched and not yet written; one artwork
//!                                                 beside its deflated form
//!      + KEPT_BUFFERS                             of large artworks, for the next ones
//!      + PART_BUFFERS × part size                 the upload
//!      + about 1 KiB an artwork                   its post and its central directory record
//!      + the text of the comments
//!      + RESERVE                                  the binary, clients, TLS sessions, open bodies
//! ```
//!
//! It does not depend on the size of the ZIP.

use shared::vault::{KEPT_BUFFERS, PART_BUFFERS, part_size};

/// Bytes in a MiB.
pub const MIB: u64 = 1024 * 1024;
/// What the process needs beside the bytes it moves; `tests/bench` measures it.
const RESERVE: u64 = 32 * MIB;
/// What is held in large buffers beside the fetch budget.
const BUFFERS: u64 = (KEPT_BUFFERS + PART_BUFFERS * part_size(1)) as u64;
/// The largest fetch budget that still gains anything: more only waits longer for the upload.
const MAX_BUDGET: u64 = 11 * MIB;
/// With less than this nothing moves.
const SMALLEST_BUDGET: u64 = MIB;

/// How the function's memory is divided up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of the function's memory. Its share of a CPU goes with it.
    pub function_bytes: u64,
    /// Bytes of artworks that may be held at once, fetched and not yet written. One larger than
    /// that is held alone.
    pub fetch_budget: u64,
    /// Bytes of the largest artwork accepted.
    pub max_artwork_bytes: u64,
    /// Whether the artwork limit had to be lowered to fit the function's memory.
    pub lowered: bool,
}

impl Memory {
    /// Divides `function_bytes`; `max_artwork_bytes` is what the operator asked for.
    #[must_use]
    pub fn plan(function_bytes: u64, max_artwork_bytes: u64) -> Self {
        let left = function_bytes.saturating_sub(RESERVE + BUFFERS).max(2 * SMALLEST_BUDGET);
        let affordable = left / 2;
        Self {
            function_bytes,
            fetch_budget: affordable.clamp(SMALLEST_BUDGET, MAX_BUDGET),
            max_artwork_bytes: max_artwork_bytes.min(affordable),
            lowered: max_artwork_bytes > affordable,
        }
    }

    /// The peak that the formula gives, in bytes, without artworks' records and comments.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.fetch_budget.max(2 * self.max_artwork_bytes) + BUFFERS + RESERVE
    }
}

#[cfg(test)]
mod tests {
    use super::{MIB, Memory};

    #[test]
    fn the_peak_fits_the_function_and_small_functions_lower_the_limit() {
        for (function, lowered) in [(128, true), (256, false), (512, false), (10_240, false)] {
            let memory = Memory::plan(function * MIB, 64 * MIB);
            assert!(memory.peak() <= function * MIB, "{function}: {memory:?}");
            assert_eq!(memory.lowered, lowered, "{function}: {memory:?}");
        }
        assert_eq!(Memory::plan(128 * MIB, 64 * MIB).max_artwork_bytes, 49 * MIB / 2);
        assert_eq!(Memory::plan(512 * MIB, 64 * MIB).fetch_budget, 11 * MIB);
    }
}
