//! When S3 copies the end of a large artwork into the archive, instead of the function sending it.

use zip_to_s3::plan::{MIN_PART, Prefer, Terms};

use crate::memory::Memory;

/// The terms on which S3 copies artworks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CopyTerms {
    terms: Terms,
    /// Whether the function reads copied bytes, for their SHA-256.
    is_read: bool,
}

impl CopyTerms {
    /// Returns the terms of a function with this memory that prefers a low price or a short time (`PREFER`).
    #[must_use]
    pub fn new(prefer: Prefer, memory: &Memory, has_checksums: bool) -> Self {
        let (paid_memory, buffer_memory) = (memory.function_bytes, memory.part_memory);
        let terms = Terms { prefer, paid_memory, buffer_memory, ..Terms::default() };
        Self { terms, is_read: has_checksums }
    }

    /// Returns what the operator prefers.
    pub(super) fn prefer(&self) -> Prefer {
        self.terms.prefer
    }

    /// Returns whether a copy of the last `bytes` of an artwork pays, where parts have `part_size` bytes.
    pub(crate) fn pay(&self, bytes: u64, part_size: u64) -> bool {
        self.terms.copy_pays(bytes, part_size, self.is_read)
    }

    /// Returns whether a copy may pay for an artwork of this size, wherever it begins.
    pub(super) fn may_pay(&self, size: u64) -> bool {
        self.pay(size, MIN_PART)
    }
}

#[cfg(test)]
mod tests {
    use zip_to_s3::plan::{MIN_PART, Prefer};

    use super::CopyTerms;
    use crate::memory::{MIB, Memory};

    /// Returns the least MiB of a copy that pays, where parts have `part_mib`.
    fn least(prefer: Prefer, has_checksums: bool, part_mib: u64) -> u64 {
        let terms = CopyTerms::new(prefer, &Memory::plan(512 * MIB, 64 * MIB), has_checksums);
        (1..100).find(|mib| terms.pay(mib * MIB, part_mib * MIB)).unwrap()
    }

    #[test]
    fn a_copy_pays_from_a_size_that_grows_with_the_parts() {
        assert_eq!([5, 9, 24].map(|part| least(Prefer::Price, false, part)), [7, 12, 23]);
        assert_eq!([5, 9, 24].map(|part| least(Prefer::Price, true, part)), [8, 15, 38]);
    }

    #[test]
    fn for_speed_every_copy_that_s3_permits_pays() {
        let minimum = MIN_PART / MIB;
        assert_eq!([5, 24].map(|part| least(Prefer::Speed, false, part)), [minimum; 2]);
        assert_eq!([5, 24].map(|part| least(Prefer::Speed, true, part)), [minimum; 2]);
    }
}
