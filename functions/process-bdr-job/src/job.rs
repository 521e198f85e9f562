//! The unit of work: one attempt at one request, from the claim to the e-mail.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use shared::clock::Clock;
use shared::database::Database;
use shared::failure::Failure;
use shared::request::{Change, Claim, Claimed, Requests};
use shared::sqid::SqidSource;
use shared::vault::{ArchiveKey, Vault, part_size};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::artwork::Fetcher;
use crate::attempt::{Attempt, Disposition};
use crate::email::ReadyEmail;
use crate::event::{Contents, Event, Status};
use crate::gather::{Gathered, gather};
use crate::notify::{EmailOutcome, Notifier};
use crate::phases::Phase;
use crate::settle::{conclude, unclaimed};

/// What the job works with.
pub struct Job {
    /// The database, for the artist, posts, comments and reactions.
    pub database: Arc<Database>,
    /// The rows of the requests.
    pub requests: Requests,
    /// The vault, for the ZIP.
    pub vault: Vault,
    /// For the artworks' files.
    pub fetcher: Fetcher,
    /// For the e-mail.
    pub notifier: Notifier,
    /// For public ids that are not stored.
    pub sqids: SqidSource,
    /// For generated-at stamps and the age of a ZIP found in the vault.
    pub clock: Clock,
    /// `EMAIL_ON_FAILURE`.
    pub email_on_failure: bool,
    /// `BASE_URL`.
    pub base_url: String,
    /// `EXPIRES_AFTER_DAYS`.
    pub expires_after_days: i32,
}

/// How an attempt ended that did not fail.
pub(crate) enum Outcome {
    /// The row is `ready` through this attempt.
    Ready,
    /// Somebody else closed the row meanwhile.
    Closed,
    /// A newer attempt holds the row.
    Superseded,
}

impl Job {
    /// Makes one attempt at `bdr_id`, fills in its event, and says what becomes of the message.
    pub(crate) async fn process(
        &self,
        bdr_id: Uuid,
        attempt: &Attempt,
        event: &mut Event<'_>,
    ) -> Disposition {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "BDR {bdr_id}: processing started");
        let claim = match self.requests.claim(bdr_id).await {
            Ok(Claimed::Ours(claim)) => claim,
            Ok(Claimed::Malformed(claim, error)) => {
                event.claimed = true;
                let failure = error.context("the request's row is malformed");
                return self.settle(&claim, &failure, attempt, event).await;
            }
            Ok(Claimed::Closed(status)) => {
                tracing::info!(?status, "BDR {bdr_id}: nothing is to be done");
                event.status = Some(Status::Skipped);
                return Disposition::Acknowledge;
            }
            Ok(Claimed::NotFound) => {
                event.status = Some(Status::NotFound);
                return Disposition::Acknowledge;
            }
            Err(error) => return unclaimed(error, attempt, event),
        };
        event.claimed = true;
        event.phases.enter(Phase::Load);
        // A panic must not become an error of the invocation: the row would stay as it is.
        let built = AssertUnwindSafe(self.build(&claim, attempt, event)).catch_unwind().await;
        match built.unwrap_or_else(|_| Err(panicked())) {
            Ok(outcome) => conclude(&outcome, event),
            Err(failure) => self.settle(&claim, &failure, attempt, event).await,
        }
    }

    /// Steps 2 to 7 of the job.
    async fn build(
        &self,
        claim: &Claim,
        attempt: &Attempt,
        event: &mut Event<'_>,
    ) -> Result<Outcome, Failure> {
        let gathered = Box::pin(gather(&self.database, &self.sqids, claim)).await?;
        let key = ArchiveKey::new(&gathered.artist.sqid, claim.bdr_id);
        let stored = match self.left_by_earlier_attempt(claim, &key, attempt).await? {
            Some(stored) => stored,
            None => self.store(claim, &gathered, &key, attempt, &mut event.phases).await?,
        };
        event.stored = Some(stored);
        event.phases.enter(Phase::Finish);
        // A killed attempt leaves one behind, and so does a creation whose answer was lost and that
        // the SDK has made again; that costs one more request for a ZIP in parts.
        if attempt.receive_count > 1 || stored.size_bytes > part_size(1) as u64 {
            self.vault.abort_leftover_uploads(&key).await;
        }
        let change = self
            .requests
            .ready(claim, &key, stored.size_bytes, self.expires_after_days)
            .await
            .map_err(|error| error.context("failed to mark the request ready"))?;
        Ok(match change {
            Change::Done(expires_at) => {
                event.phases.enter(Phase::Notify);
                // Known before the e-mail: a panic in it must not hide that the row is `ready`.
                event.status = Some(Status::Ready);
                event.email = Some(self.notify(claim, &gathered, &stored, expires_at).await);
                Outcome::Ready
            }
            Change::Closed => Outcome::Closed,
            Change::Superseded => Outcome::Superseded,
        })
    }

    async fn notify(
        &self,
        claim: &Claim,
        gathered: &Gathered,
        stored: &Contents,
        expires_at: OffsetDateTime,
    ) -> EmailOutcome {
        if !claim.send_email {
            return EmailOutcome::NotWanted;
        }
        let artist = &gathered.artist;
        let link = format!("{}/u/{}/posts?bdr={}", self.base_url, artist.sqid, claim.bdr_id);
        let email = ReadyEmail {
            handle: &artist.handle,
            artworks: stored.artworks,
            missing: stored.missing,
            size_bytes: stored.size_bytes,
            link: &link,
            expires_at,
        };
        self.notifier.send(artist.email.as_deref(), &email).await
    }
}

/// What a panic comes to. What it said is in the log already (`shared::telemetry`).
fn panicked() -> Failure {
    Failure::retry("the attempt panicked", "this is a defect; the line before says where")
}
