//! One run: the check of the run before, and the beginning of the next one.

use shared::failure::Failure;
use shared::queue::{Publication, Queue};
use shared::request::{Overview, RequestState, Requests};
use shared::vault::{ArchiveKey, ArchiveObject, Vault};
use uuid::Uuid;

use crate::zip::is_complete;

/// The clients and the request of a run.
pub struct Canary {
    /// The rows of the requests.
    pub requests: Requests,
    /// The vault.
    pub vault: Vault,
    /// The queue of the requests.
    pub queue: Queue,
    /// `CANARY_REQUEST_ID`.
    pub bdr_id: Uuid,
}

/// The result of the run before.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request became `ready`, with a complete ZIP.
    Success,
    /// It did not, for this reason.
    Failed(String),
}

impl Canary {
    /// Checks the run before, and begins the next one if that one has ended.
    ///
    /// # Errors
    /// When the database, S3 or SQS do not respond.
    pub async fn run(&self) -> Result<Verdict, Failure> {
        let failed = |reason: &str| Ok(Verdict::Failed(reason.to_owned()));
        let request = self.requests.find(self.bdr_id).await;
        let request = request.map_err(|error| error.context("failed to read the request"))?;
        let Some(request) = request else { return failed("CANARY_REQUEST_ID names no request") };
        let (verdict, archive) = match RequestState::parse(&request.status) {
            Some(RequestState::Ready) => self.check(&request).await?,
            Some(RequestState::Failed) => (Verdict::Failed("the request failed".to_owned()), None),
            // An attempt may be about to mark the row `ready`, and the cleanup publishes it again.
            Some(RequestState::Pending) => return failed("the request is still pending"),
            Some(RequestState::Processing) => return failed("the request is still processing"),
            // No statement leads back from there (`shared::request`).
            Some(RequestState::Expired) | None => {
                return failed("the request has expired; CANARY_REQUEST_ID must name another one");
            }
        };
        if request.attempts_end().is_some_and(|end| request.now <= end) {
            // An operator has invoked the function a second time.
            tracing::info!(bdr_id = %self.bdr_id, "an attempt may still run; not repeating the request");
        } else {
            self.begin(&request, archive).await?;
        }
        Ok(verdict)
    }

    /// Checks the ZIP of a request that is `ready`; returns it as well, if it exists.
    async fn check(
        &self,
        request: &Overview,
    ) -> Result<(Verdict, Option<(ArchiveKey, ArchiveObject)>), Failure> {
        let failed = |reason: &str| Verdict::Failed(reason.to_owned());
        let fault = |error| Failure::retry("failed to read the ZIP", error);
        let key = request.file_path.as_deref().and_then(ArchiveKey::parse);
        let Some(key) = key.filter(|key| key.bdr_id() == Some(self.bdr_id)) else {
            return Ok((failed("file_path is not the key of the ZIP"), None));
        };
        let Some(object) = self.vault.archive(&key).await.map_err(fault)? else {
            return Ok((failed("the vault has no ZIP"), None));
        };
        let end = self.vault.archive_end(&key, &object).await.map_err(fault)?;
        let artworks = request.artworks.and_then(|n| usize::try_from(n).ok()).unwrap_or_default();
        let size = request.file_size_bytes.and_then(|size| u64::try_from(size).ok());
        let verdict = if size != Some(object.size_bytes) {
            failed("file_size_bytes is not the size of the ZIP")
        } else if !is_complete(&end.unwrap_or_default(), self.bdr_id, artworks) {
            failed("the ZIP is not whole, or lacks artworks")
        } else {
            Verdict::Success
        };
        Ok((verdict, Some((key, object))))
    }

    /// Deletes the ZIP, reopens the row and publishes the request, in the order of a cleanup: object first and
    /// row second.
    async fn begin(
        &self,
        request: &Overview,
        archive: Option<(ArchiveKey, ArchiveObject)>,
    ) -> Result<(), Failure> {
        if let Some((key, object)) = archive {
            let deleted = self.vault.delete_unchanged(&key, object.e_tag).await;
            deleted.map_err(|error| Failure::retry("failed to delete the ZIP", error))?;
        }
        let reopened = self.requests.repeat(self.bdr_id).await;
        if !reopened.map_err(|error| error.context("failed to reopen the request"))? {
            return Err(Failure::retry("failed to reopen the request", "its state has changed"));
        }
        let publication = Publication { bdr_id: self.bdr_id, user_id: request.user_id };
        let published = self.queue.publish(publication).await;
        published.map_err(|error| Failure::retry("failed to publish the request", error))
    }
}
