//! One attempt at one request: claim, load, archive, ready, notify.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use shared::database::{Database, DatabaseError};
use shared::executions::Executions;
use shared::failure::{Failure, chain};
use shared::request::{Change, Claim, Claimed, ClosedRow, Requests};
use shared::sqid::SqidSource;
use shared::vault::ArchiveKey;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep_until, timeout_at};
use uuid::Uuid;

use crate::archive::{Archiver, Stored, StoredArchive};
use crate::attempt::{Attempt, Backoff, full_jitter};
use crate::email::{EmailOutcome, Notice, Notifier};
use crate::load::{Artist, load, without_duplicates};
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
    /// The state machine of large exports, if there is one.
    pub executions: Option<Executions>,
}

/// The result of an attempt before it changes the row.
pub(crate) struct Built {
    pub(crate) artist: Artist,
    pub(crate) key: ArchiveKey,
    pub(crate) archive: StoredArchive,
}

/// The effect of an archive on the row: `expires_at`, if this attempt marked the row `ready`.
pub(crate) type Marked = Result<Change<OffsetDateTime>, Failure>;

/// Full delays between tries to mark the row `ready`: the first and the longest one.
const READY_BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

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
        match built.unwrap_or_else(|_| Err(panicked())).transpose() {
            None => AttemptOutcome::Exported,
            Some(built) => self.settle(&claim, built, attempt, phases).await,
        }
    }

    /// Ends an attempt by what it built and how that changed the row.
    pub(crate) async fn settle(
        &self,
        claim: &Claim,
        built: Result<(Built, Marked), Failure>,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> AttemptOutcome {
        let (built, change) = match built {
            Ok(built) => built,
            Err(failure) => {
                return self.settle_failure(claim, failure, None, attempt, phases).await;
            }
        };
        match change {
            Ok(Change::Done(expires_at)) => {
                self.conclude(claim, &built, expires_at, attempt, phases).await
            }
            Ok(Change::Closed(row)) => {
                self.discard_unless_referred_to(row, &built, attempt).await;
                AttemptOutcome::Closed { work: Ok(built.archive) }
            }
            Ok(Change::Superseded) => AttemptOutcome::Superseded { work: Ok(built.archive) },
            Err(failure) => {
                let archive = Some(&built.archive);
                let outcome = self.settle_failure(claim, failure, archive, attempt, phases).await;
                if !matches!(outcome, AttemptOutcome::Closed { .. }) {
                    return outcome;
                }
                // A try whose response was lost may have marked the row `ready`. The statement
                // recognizes such a change.
                match self.try_ready(claim, &built, attempt.row_stop_at(), attempt).await {
                    Ok(Change::Done(expires_at)) => {
                        self.conclude(claim, &built, expires_at, attempt, phases).await
                    }
                    Ok(Change::Closed(row)) => {
                        self.discard_unless_referred_to(row, &built, attempt).await;
                        outcome
                    }
                    _ => outcome,
                }
            }
        }
    }

    /// Claims the request. `Err` holds the outcome of an attempt that ends here.
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
                Err(self.settle_failure(&claim, failure, None, attempt, phases).await)
            }
            Claimed::Closed(_) => Err(self.skip(bdr_id, attempt, phases).await),
            Claimed::NotFound if attempt.waits_for_row() => Err(AttemptOutcome::RowAbsent),
            Claimed::NotFound => Err(AttemptOutcome::NotFound),
        }
    }

    /// Stores the archive and marks the row `ready`. Returns `None` if the state machine continues.
    async fn build(
        &self,
        claim: &Claim,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> Result<Option<(Built, Marked)>, Failure> {
        let post_ids = without_duplicates(&claim.post_ids);
        self.archiver.limits.check_artworks(post_ids.len())?;
        // While the database responds. Held until the archive is complete.
        let _connections = self.archiver.fetcher.open_connections(post_ids.len()).await;
        // A first segment has no more artworks than that.
        let max_posts = self.archiver.segments.map_or(usize::MAX, |segments| segments.artworks);
        let request = load(&self.database, &self.sqids, claim, post_ids, max_posts);
        let request = Box::pin(request).await?;
        let key = ArchiveKey::new(&request.artist.sqid, claim.bdr_id);
        let stored = self.archiver.store(claim, &request, &key, attempt, phases).await?;
        phases.enter(Phase::Finish);
        let archive = match stored {
            Stored::Archive(archive) => archive,
            Stored::Head(head) => {
                self.begin_export(claim, request, head, attempt).await?;
                return Ok(None);
            }
        };
        let built = Built { artist: request.artist, key, archive };
        let marked = self.mark_ready(claim, &built, attempt).await;
        Ok(Some((built, marked)))
    }

    /// Marks the row `ready`. Trouble of the database is waited for until the guard, because the
    /// archive is complete, and because a later attempt could not know whether the e-mail was sent.
    pub(crate) async fn mark_ready(
        &self,
        claim: &Claim,
        built: &Built,
        attempt: &Attempt,
    ) -> Marked {
        const FAILED: &str = "failed to mark the request ready";
        let stop_at = attempt.ready_stop_at();
        let mut backoff = Backoff::new(READY_BACKOFF);
        loop {
            let error = match self.try_ready(claim, built, stop_at, attempt).await {
                Err(error) if error.is_transient() => error,
                result => return result.map_err(|error| error.context(FAILED)),
            };
            let again_at = Instant::now() + full_jitter(backoff.next_delay());
            if again_at >= stop_at {
                return Err(error.context(FAILED));
            }
            tracing::warn!(error = chain(&error), "failed to mark the request ready; retrying");
            sleep_until(again_at).await;
        }
    }

    /// Tries to mark the row `ready`, and gives up at `stop_at`.
    async fn try_ready(
        &self,
        claim: &Claim,
        built: &Built,
        stop_at: Instant,
        attempt: &Attempt,
    ) -> Result<Change<OffsetDateTime>, DatabaseError> {
        let ready = self.requests.ready(
            claim,
            &built.key,
            built.archive.size_bytes,
            self.expires_after_days,
            attempt.ready_stop_at(),
        );
        within(stop_at, ready).await
    }

    /// Ends an attempt that marked the row `ready`: sends the e-mail, then aborts leftover uploads.
    async fn conclude(
        &self,
        claim: &Claim,
        built: &Built,
        expires_at: OffsetDateTime,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> AttemptOutcome {
        let Built { artist, key, archive } = built;
        let notice = Notice::Ready { artist, archive, expires_at };
        let email = self.notify(claim, notice, attempt, phases).await;
        phases.enter(Phase::Finish);
        // A panic must not hide that the row is `ready`. The panic hook has logged it.
        let aborting = self.archiver.abort_leftover_uploads(key, archive, attempt);
        let _ = AssertUnwindSafe(aborting).catch_unwind().await;
        AttemptOutcome::Ready { archive: archive.clone(), email }
    }

    /// Deletes the archive of an attempt that found its row closed, unless the row may refer to it.
    async fn discard_unless_referred_to(&self, row: ClosedRow, built: &Built, attempt: &Attempt) {
        match row {
            // Another attempt was first, and the archive is its archive too.
            ClosedRow::WithArchive => {}
            ClosedRow::WithoutArchive => {
                let discarding = self.archiver.discard(&built.key, &built.archive, attempt);
                // A panic must not hide that the row is closed. The panic hook has logged it.
                let _ = AssertUnwindSafe(discarding).catch_unwind().await;
            }
        }
    }

    /// Sends the e-mail about a change of the row, if the artist asked for one.
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

    /// Releases the row for another attempt, or marks it `failed` and informs the artist. `archive` is the
    /// one that the attempt tried to mark `ready`.
    async fn settle_failure(
        &self,
        claim: &Claim,
        failure: Failure,
        archive: Option<&StoredArchive>,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> AttemptOutcome {
        phases.enter(Phase::Finish);
        let stop_at = attempt.row_stop_at();
        let row_change = RowChange::after(&failure, attempt);
        let change = match row_change {
            RowChange::Release => within(stop_at, self.requests.release(claim)).await,
            RowChange::Fail => {
                within(stop_at, self.requests.fail(claim, &failure.artist_message())).await
            }
        };
        match (change, row_change) {
            (Ok(Change::Done(())), RowChange::Release) => AttemptOutcome::Retried { failure },
            (Ok(Change::Done(())), RowChange::Fail) => {
                let notice = Notice::Failed { failure: &failure };
                let email = self.notify(claim, notice, attempt, phases).await;
                AttemptOutcome::Failed { failure, email }
            }
            (Ok(Change::Closed(_)), _) => AttemptOutcome::Closed { work: Err(failure) },
            (Ok(Change::Superseded), _) => AttemptOutcome::Superseded { work: Err(failure) },
            (Err(error), _) => {
                if archive.is_some() || row_change == RowChange::Fail {
                    let message = failure.artist_message();
                    self.mark_email_due(claim, archive, message, attempt).await;
                }
                AttemptOutcome::Unsettled { failure, error }
            }
        }
    }
}

/// Gives a statement up at `stop_at`. Does not start it after that time: an abandoned statement may take
/// effect.
async fn within<T>(
    stop_at: Instant,
    statement: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    let left = stop_at.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(DatabaseError::TimedOut(left));
    }
    timeout_at(stop_at, statement).await.unwrap_or(Err(DatabaseError::TimedOut(left)))
}

/// Returns the failure of an attempt that panicked. The panic hook has logged message and location.
pub(crate) fn panicked() -> Failure {
    Failure::retry("the attempt panicked", "this is a defect; see the preceding log line")
}
