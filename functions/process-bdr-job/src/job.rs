//! The unit of work: one attempt at one request, in the order of the specification.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use shared::database::Database;
use shared::failure::Failure;
use shared::request::{Change, Claim, Claimed, Requests};
use shared::sqid::SqidSource;
use shared::vault::ArchiveKey;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::archive::{Archiver, StoredArchive};
use crate::attempt::Attempt;
use crate::email::{EmailOutcome, Notice, Notifier};
use crate::load::{Artist, load};
use crate::outcome::{AttemptOutcome, RowChange};
use crate::phases::{Phase, Phases};

/// The unit of work and what it needs.
pub struct Job {
    /// The database of artists, posts, comments and reactions.
    pub database: Arc<Database>,
    /// The rows of the requests.
    pub requests: Requests,
    /// The writer of archives.
    pub archiver: Archiver,
    /// The sender of e-mails.
    pub notifier: Notifier,
    /// The source of public ids.
    pub sqids: SqidSource,
    /// `EXPIRES_AFTER_DAYS`.
    pub expires_after_days: i32,
}

/// What an attempt made before the e-mail: an archive, and its effect on the row.
struct Built {
    artist: Artist,
    archive: StoredArchive,
    /// `expires_at`, if this attempt marked the row `ready`.
    change: Change<OffsetDateTime>,
}

impl Job {
    /// Makes one attempt at `bdr_id`: claim → load → archive → ready → notify.
    pub(crate) async fn process(
        &self,
        bdr_id: Uuid,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> AttemptOutcome {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "BDR {bdr_id}: processing started");
        let claim = match self.claim(bdr_id, attempt, phases).await {
            Ok(claim) => claim,
            Err(outcome) => return outcome,
        };
        // A panic is a failure of the attempt, so that the row is released.
        let built = AssertUnwindSafe(self.build(&claim, attempt, phases)).catch_unwind().await;
        let Built { artist, archive, change } = match built.unwrap_or_else(|_| Err(panicked())) {
            Ok(built) => built,
            Err(failure) => return self.give_up(&claim, failure, attempt, phases).await,
        };
        match change {
            Change::Done(expires_at) => {
                let notice = Notice::Ready { artist: &artist, archive: &archive, expires_at };
                let email = self.notify(&claim, notice, attempt, phases).await;
                AttemptOutcome::Ready { archive, email }
            }
            Change::Closed => AttemptOutcome::Closed { work: Ok(archive) },
            Change::Superseded => AttemptOutcome::Superseded { work: Ok(archive) },
        }
    }

    /// Claims the request, or returns the outcome of an attempt that has nothing to build.
    async fn claim(
        &self,
        bdr_id: Uuid,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> Result<Claim, AttemptOutcome> {
        let claimed = self.requests.claim(bdr_id).await.map_err(|error| {
            let failure = error.context("failed to claim the request");
            AttemptOutcome::Unclaimed { failure }
        })?;
        match claimed {
            Claimed::Ours(claim) => {
                phases.enter(Phase::Load);
                Ok(claim)
            }
            Claimed::Malformed(claim, error) => {
                phases.enter(Phase::Load);
                let failure = error.context("the request's row is malformed");
                Err(self.give_up(&claim, failure, attempt, phases).await)
            }
            Claimed::Closed(_) => Err(AttemptOutcome::Skipped),
            Claimed::NotFound => Err(AttemptOutcome::NotFound),
        }
    }

    /// Stores the archive and marks the row `ready`.
    async fn build(
        &self,
        claim: &Claim,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> Result<Built, Failure> {
        let request = Box::pin(load(&self.database, &self.sqids, claim)).await?;
        let key = ArchiveKey::new(&request.artist.sqid, claim.bdr_id);
        let archive = self.archiver.store(claim, &request, &key, attempt, phases).await?;
        phases.enter(Phase::Finish);
        self.archiver.abort_leftover_uploads(&key, &archive, attempt).await;
        let change = self
            .requests
            .ready(claim, &key, archive.size_bytes, self.expires_after_days)
            .await
            .map_err(|error| error.context("failed to mark the request ready"))?;
        Ok(Built { artist: request.artist, archive, change })
    }

    /// Sends the e-mail that a change of the row calls for.
    async fn notify(
        &self,
        claim: &Claim,
        notice: Notice<'_>,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> EmailOutcome {
        phases.enter(Phase::Notify);
        self.notifier.notify(claim, notice, attempt.email_stop_at()).await
    }

    /// Releases the row for another attempt, or marks it `failed` and informs the artist.
    async fn give_up(
        &self,
        claim: &Claim,
        failure: Failure,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> AttemptOutcome {
        phases.enter(Phase::Finish);
        let row_change = RowChange::after(&failure, attempt);
        let change = match row_change {
            RowChange::Release => self.requests.release(claim).await,
            RowChange::Fail => self.requests.fail(claim, &failure.artist_message()).await,
        };
        match (change, row_change) {
            (Ok(Change::Done(())), RowChange::Release) => AttemptOutcome::Retried { failure },
            (Ok(Change::Done(())), RowChange::Fail) => {
                let notice = Notice::Failed { failure: &failure };
                let email = self.notify(claim, notice, attempt, phases).await;
                AttemptOutcome::Failed { failure, email }
            }
            (Ok(Change::Closed), _) => AttemptOutcome::Closed { work: Err(failure) },
            (Ok(Change::Superseded), _) => AttemptOutcome::Superseded { work: Err(failure) },
            (Err(error), _) => AttemptOutcome::Unsettled { failure, error },
        }
    }
}

/// Returns the failure of an attempt that panicked. The panic hook has logged message and location.
fn panicked() -> Failure {
    Failure::retry("the attempt panicked", "this is a defect; see the preceding log line")
}
