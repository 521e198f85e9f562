//! Finishes a large export: joins its segments, marks the row `ready` and e-mails the artist; or marks it
//! `failed` when the state machine gives up.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use shared::failure::{Decision, Failure, chain};
use shared::lambda::ErrorType;
use shared::request::{Claim, RequestState};
use shared::vault::Export;
use time::OffsetDateTime;

use super::plan::Plan;
use crate::archive::{Joint, read_document};
use crate::attempt::Attempt;
use crate::job::{Built, Job, Marked, panicked};
use crate::limits::TOO_LARGE;
use crate::load::{LoadedRequest, load_without_posts};
use crate::outcome::AttemptOutcome;
use crate::phases::{Phase, Phases};

impl Job {
    /// Finishes an export. Returns also the time at which the message of its request was sent.
    ///
    /// # Errors
    /// When a service fails: the state machine tries again. The segments are then kept.
    pub(super) async fn finish_export(
        &self,
        export: &Export,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> Result<(AttemptOutcome, Option<OffsetDateTime>), Failure> {
        let plan = self.plan(export).await?;
        let Some(claim) = self.held(export, attempt).await? else {
            let sent_at = plan.as_ref().and_then(|plan| plan.sent_at);
            let outcome = self.end_closed(export, plan.as_ref(), attempt, phases).await?;
            return Ok((outcome, sent_at));
        };
        phases.enter(Phase::Load);
        let building = self.build_export(&claim, export, plan.as_ref(), attempt, phases);
        // A panic is a failure, which the state machine tries again.
        let built = AssertUnwindSafe(building).catch_unwind().await;
        let built = match built.unwrap_or_else(|_| Err(panicked())) {
            Ok((built, Err(failure))) => {
                // The row may be `ready`: the next try then finds it closed, and sends the e-mail.
                let archive = Some(&built.archive);
                self.mark_email_due(&claim, archive, failure.artist_message(), attempt).await;
                return Err(failure);
            }
            Err(failure) if failure.decision() == Decision::Retry => return Err(failure),
            built => built,
        };
        let is_failed = built.is_err();
        let outcome = settled(self.settle(&claim, built, attempt, phases).await)?;
        let sent_at = plan.as_ref().and_then(|plan| plan.sent_at);
        match plan {
            Some(plan) if is_failed => self.drop_export(export, &plan).await,
            Some(plan) => self.delete_export(export, &plan).await,
            None => {}
        }
        Ok((outcome, sent_at))
    }

    /// Marks the row of an export `failed` that the state machine gave up after an error with the name
    /// `cause`. Keeps its segments, so that an operator can resume it; the cleanup deletes them after a day.
    ///
    /// # Errors
    /// When a service fails: the state machine tries again.
    pub(super) async fn fail_export(
        &self,
        export: &Export,
        cause: String,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> Result<AttemptOutcome, Failure> {
        let plan = self.plan(export).await?;
        let Some(claim) = self.held(export, attempt).await? else {
            return self.end_closed(export, plan.as_ref(), attempt, phases).await;
        };
        phases.enter(Phase::Load);
        let failure = Err(given_up(cause));
        let outcome = settled(self.settle(&claim, failure, attempt, phases).await)?;
        if let (Some(plan), false) = (plan, matches!(outcome, AttemptOutcome::Failed { .. })) {
            self.drop_export(export, &plan).await;
        }
        Ok(outcome)
    }

    /// Returns the plan. A malformed one counts as gone, so that the row fails at once; the cleanup and the
    /// lifecycle rules delete the export's objects and upload.
    async fn plan(&self, export: &Export) -> Result<Option<Plan>, Failure> {
        match read_document(&self.archiver.vault, &export.plan()).await {
            Err(failure) if failure.decision() == Decision::Fail => {
                tracing::warn!(error = chain(&failure), "the plan of the export is malformed");
                Ok(None)
            }
            plan => plan,
        }
    }

    /// Returns the claim of the attempt that began the export, if the row still has its token. The mark of
    /// an e-mail that an earlier try left is then void: the row is open.
    async fn held(&self, export: &Export, attempt: &Attempt) -> Result<Option<Claim>, Failure> {
        let row = self.requests.row(export.bdr_id).await;
        let row = row.map_err(|error| error.context("failed to read the request"))?;
        let claim = row.and_then(|row| {
            let is_processing = RequestState::parse(&row.status) == Some(RequestState::Processing);
            (is_processing && export.is_of(row.claim.token)).then_some(row.claim)
        });
        if claim.is_some() && attempt.receive_count > 1 {
            let deleted = self.archiver.vault.delete_email_mark(export.bdr_id).await;
            deleted.map_err(|error| Failure::retry("failed to delete a mark", error))?;
        }
        Ok(claim)
    }

    /// Ends an export whose row another attempt holds or is closed: perhaps by an earlier try, whose e-mail
    /// is then due.
    async fn end_closed(
        &self,
        export: &Export,
        plan: Option<&Plan>,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> Result<AttemptOutcome, Failure> {
        let outcome = settled(self.skip(export.bdr_id, attempt, phases).await)?;
        if let Some(plan) = plan {
            self.drop_export(export, plan).await;
        }
        Ok(outcome)
    }

    async fn build_export(
        &self,
        claim: &Claim,
        export: &Export,
        plan: Option<&Plan>,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> Result<(Built, Marked), Failure> {
        let plan = plan.ok_or_else(|| {
            let cause = "it does not exist, or is malformed";
            Failure::permanent_fault("failed to read the plan of the export", cause)
        })?;
        let request = Box::pin(load_without_posts(&self.database, &self.sqids, claim)).await?;
        let joint = Joint {
            upload: plan.upload.clone(),
            segments: plan.segments,
            artworks: plan.artworks,
            generated_at: plan.generated_at,
        };
        let archive = self.archiver.join(claim, export, &request, joint, attempt, phases).await?;
        phases.enter(Phase::Finish);
        let LoadedRequest { artist, .. } = request;
        let built = Built { artist, key: export.archive(), archive };
        let marked = self.mark_ready(claim, &built, attempt).await;
        Ok((built, marked))
    }

    /// Removes what an export that makes no archive has in the vault.
    async fn drop_export(&self, export: &Export, plan: &Plan) {
        self.archiver.vault.abort_suspended(&export.archive(), &plan.upload).await;
        self.delete_export(export, plan).await;
    }
}

/// Returns the failure of an export that the state machine gave up after an error with the name `cause`.
fn given_up(cause: String) -> Failure {
    match ErrorType::parse(&cause) {
        Some(ErrorType::RequestTooLarge) => {
            Failure::too_large("a segment of the export exceeds a limit", TOO_LARGE)
        }
        Some(kind) if kind.is_permanent() => {
            Failure::permanent_fault("the export failed permanently", cause)
        }
        _ => Failure::retry("the export failed after its retries", cause),
    }
}

/// Returns an outcome after which nothing is left to do.
///
/// # Errors
/// When the row could not be updated or read: the state machine tries again.
fn settled(outcome: AttemptOutcome) -> Result<AttemptOutcome, Failure> {
    match outcome {
        AttemptOutcome::Unsettled { failure, error } => {
            tracing::warn!(error = chain(&failure), "the export failed, and its row is unchanged");
            Err(error.context("failed to update the row of the export"))
        }
        AttemptOutcome::Unclaimed { failure } => Err(failure),
        outcome => Ok(outcome),
    }
}
