//! Adoption: an archive that another attempt at the same request stored is as good as one's own.

use shared::failure::Failure;
use shared::request::Claim;
use shared::vault::{ArchiveKey, ArchiveObject};

use super::comment::Counts;
use super::{Archiver, StoredArchive};
use crate::load::without_duplicates;

impl Archiver {
    /// Returns the archive at `key` if it is recent enough to adopt; deletes a leftover. The comment of
    /// the archive has its counts. An archive without one, of an earlier version, counts as complete.
    pub(super) async fn adopt(
        &self,
        claim: &Claim,
        key: &ArchiveKey,
    ) -> Result<Option<StoredArchive>, Failure> {
        let failure = |error| Failure::retry("failed to look for an earlier archive", error);
        let Some(object) = self.vault.adopt(key, self.clock.now()).await.map_err(failure)? else {
            return Ok(None);
        };
        self.counted(claim, key, &object).await
    }

    /// Returns the archive at `key`, whatever its age.
    pub(crate) async fn stored(
        &self,
        claim: &Claim,
        key: &ArchiveKey,
    ) -> Result<Option<StoredArchive>, Failure> {
        let object = self.vault.archive(key).await;
        let object =
            object.map_err(|error| Failure::retry("failed to look for the archive", error))?;
        match object {
            Some(object) => self.counted(claim, key, &object).await,
            None => Ok(None),
        }
    }

    /// Returns an archive with the counts of its comment. Returns `None` if it was deleted or replaced.
    async fn counted(
        &self,
        claim: &Claim,
        key: &ArchiveKey,
        object: &ArchiveObject,
    ) -> Result<Option<StoredArchive>, Failure> {
        let end = self.vault.archive_end(key, object).await;
        let end = end.map_err(|error| Failure::retry("failed to read the archive", error))?;
        let Some(end) = end else { return Ok(None) };
        let requested = without_duplicates(&claim.post_ids).len();
        let counts = Counts::read(&end, claim.bdr_id, requested);
        Ok(Some(StoredArchive {
            size_bytes: object.size_bytes,
            copied_bytes: 0,
            artworks: counts.map_or(requested, |counts| counts.artworks),
            missing: counts.map_or(0, |counts| counts.missing),
            counted: counts.is_some(),
            adopted: true,
            e_tag: object.e_tag.clone(),
            contents: None,
            leftovers: None,
        }))
    }
}
