//! Adoption: an archive that another attempt at the same request stored is as good as one's own.

use shared::failure::Failure;
use shared::request::Claim;
use shared::vault::ArchiveKey;

use super::{Archiver, StoredArchive};
use crate::load::without_duplicates;

impl Archiver {
    /// Returns the archive at `key` if it is recent enough to adopt; deletes a leftover.
    pub(super) async fn adopt(
        &self,
        claim: &Claim,
        key: &ArchiveKey,
    ) -> Result<Option<StoredArchive>, Failure> {
        let found = self
            .vault
            .adopt(key, self.clock.now())
            .await
            .map_err(|error| Failure::retry("failed to look for an earlier archive", error))?;
        Ok(found.map(|object| StoredArchive {
            size_bytes: object.size_bytes,
            artworks: without_duplicates(&claim.post_ids).len(),
            missing: 0,
            adopted: true,
        }))
    }
}
