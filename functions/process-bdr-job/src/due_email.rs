//! E-mails that are due: the row was closed and the response was lost, so the attempt ended without
//! knowing that it had to send the e-mail. The attempt leaves a mark in the vault, and the next receive,
//! which finds the row closed, sends the e-mail (ADR 9).

use serde::{Deserialize, Serialize};
use shared::failure::{Failure, chain};
use shared::request::{Claim, DueEmail, DueRow};
use time::OffsetDateTime;
use tokio::time::timeout_at;
use uuid::Uuid;

use crate::archive::StoredArchive;
use crate::attempt::Attempt;
use crate::email::Notice;
use crate::job::Job;
use crate::load::Recipient;
use crate::outcome::AttemptOutcome;
use crate::phases::{Phase, Phases};

/// The content of a mark: what the e-mail needs and the row does not have.
#[derive(Debug, Serialize, Deserialize)]
struct EmailMark {
    /// The token of the attempt that left the mark.
    #[serde(with = "time::serde::rfc3339")]
    token: OffsetDateTime,
    /// The artist.
    user_id: i64,
    /// The archive that the attempt tried to mark `ready`.
    archive: Option<StoredArchive>,
    /// The message to the artist if the row is `failed`.
    message: String,
}

impl Job {
    /// Leaves the mark of an attempt that does not know whether it closed the row. `archive` is the one
    /// that the attempt tried to mark `ready`, `message` the row's `error_message` if the row is `failed`.
    pub(crate) async fn mark_email_due(
        &self,
        claim: &Claim,
        archive: Option<&StoredArchive>,
        message: String,
        attempt: &Attempt,
    ) {
        let Some(user_id) = claim.user_id.filter(|_| claim.send_email) else { return };
        let mark = EmailMark { token: claim.token, user_id, archive: archive.cloned(), message };
        let put = async {
            let mark = serde_json::to_vec(&mark).map_err(|error| chain(&error))?;
            let put = self.archiver.vault.put_email_mark(claim.bdr_id, mark.into()).await;
            put.map_err(|error| chain(&error))
        };
        let error = match timeout_at(attempt.email_stop_at(), put).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(elapsed) => chain(&elapsed),
        };
        tracing::error!(error, "failed to record that the e-mail may be due; it may never be sent");
    }

    /// Ends an attempt that found the row closed: sends the e-mail if one is due.
    pub(crate) async fn skip(
        &self,
        bdr_id: Uuid,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> AttemptOutcome {
        match self.send_due_email(bdr_id, attempt, phases).await {
            Ok(outcome) => outcome.unwrap_or(AttemptOutcome::Skipped),
            Err(failure) => AttemptOutcome::Unclaimed { failure },
        }
    }

    /// Sends the e-mail that a mark records, and returns the outcome that the marking attempt did not
    /// know. The artist is looked up before the e-mail is taken over, so that trouble until then loses
    /// nothing.
    async fn send_due_email(
        &self,
        bdr_id: Uuid,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> Result<Option<AttemptOutcome>, Failure> {
        let vault = &self.archiver.vault;
        let mark = vault.email_mark(bdr_id).await;
        let mark =
            mark.map_err(|error| Failure::retry("failed to look for a due e-mail", error))?;
        let Some(mark) = mark else { return Ok(None) };
        let EmailMark { token, user_id, archive, message } = match serde_json::from_slice(&mark) {
            Ok(mark) => mark,
            Err(error) => {
                tracing::error!(error = chain(&error), "the mark of a due e-mail is malformed");
                return Ok(None);
            }
        };
        let recipient = Recipient::find(&self.database, &self.sqids, user_id).await;
        let recipient = recipient.map_err(|error| error.context("failed to look the artist up"))?;
        let due = self.requests.take_email(bdr_id, token).await;
        let due = due.map_err(|error| error.context("failed to take the due e-mail over"))?;
        let Some(DueEmail { claim, row }) = due else { return Ok(None) };
        phases.enter(Phase::Notify);
        let stop_at = attempt.email_stop_at();
        let outcome = match row {
            DueRow::Ready { expires_at } => {
                let Some(archive) = archive else {
                    tracing::error!("the mark of a due e-mail has no archive; the e-mail is lost");
                    return Ok(None);
                };
                let email = self
                    .notifier
                    .notify_ready(&claim, recipient, &archive, expires_at, stop_at)
                    .await;
                AttemptOutcome::Ready { archive, email }
            }
            DueRow::Failed => {
                let failure = Failure::permanent("an earlier attempt failed", message);
                let notice = Notice::Failed { failure: &failure };
                let email = self.notifier.notify(&claim, notice, stop_at).await;
                AttemptOutcome::Failed { failure, email }
            }
        };
        if let Err(error) = vault.delete_email_mark(bdr_id).await {
            tracing::warn!(
                error = chain(&error),
                "failed to delete a mark; leaving it to the cleanup"
            );
        }
        Ok(Some(outcome))
    }
}
