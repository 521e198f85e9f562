//! The row of a request whose e-mail is due: an attempt closed it, received no response, and could not
//! send the e-mail.

use time::OffsetDateTime;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::{Claim, RequestState, Requests, read_columns};
use crate::database::{DatabaseError, column};

/// A closed request whose e-mail this attempt sends.
#[derive(Debug)]
pub struct DueEmail {
    /// The request. Its row is closed, so only the e-mail step uses it.
    pub claim: Claim,
    /// The row.
    pub row: DueRow,
}

/// The state of a closed row whose e-mail is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueRow {
    /// `ready`.
    Ready {
        /// `expires_at`.
        expires_at: OffsetDateTime,
    },
    /// `failed`.
    Failed,
}

/// Replaces the token of a closed row, so that one attempt sends its e-mail. A retry recognizes the
/// token that it set.
const TAKE_EMAIL: &str = "
    UPDATE batch_download_requests AS r
       SET started_at = $3
     WHERE r.id = $1 AND r.status IN ('ready', 'failed') AND r.started_at IN ($2, $3)
 RETURNING r.status, r.expires_at, r.user_id::bigint, r.post_ids::bigint[], r.include_comments,
           r.include_reactions, r.send_email, clock_timestamp() AS executed_at";

/// Largest step from the old token to the new one, in microseconds.
const MAX_STEP_MICROS: i64 = 1_000_000;

impl Requests {
    /// Takes over the e-mail of a row that the attempt with `token` closed. Returns `None` if the row is
    /// open, was closed by another attempt, or another attempt took the e-mail over.
    ///
    /// The new token is `token` and a random step of up to 1 s. Two attempts that choose the same step at
    /// the same time, one pair in a million, would both take the e-mail over.
    ///
    /// # Errors
    /// When the database does not respond, or the row is malformed.
    pub async fn take_email(
        &self,
        bdr_id: Uuid,
        token: OffsetDateTime,
    ) -> Result<Option<DueEmail>, DatabaseError> {
        let new = token + time::Duration::microseconds(fastrand::i64(1..=MAX_STEP_MICROS));
        let row = self
            .database
            .execute_idempotent(|client| async move {
                let parameters: [(&(dyn ToSql + Sync), Type); 3] =
                    [(&bdr_id, Type::UUID), (&token, Type::TIMESTAMPTZ), (&new, Type::TIMESTAMPTZ)];
                client.query_typed_opt(TAKE_EMAIL, &parameters).await
            })
            .await?;
        let Some(row) = row else { return Ok(None) };
        let mut claim = Claim::new(bdr_id, new, column(&row, "executed_at")?);
        read_columns(&row, &mut claim)?;
        let status: String = column(&row, "status")?;
        let row = if RequestState::parse(&status) == Some(RequestState::Ready) {
            DueRow::Ready { expires_at: column(&row, "expires_at")? }
        } else {
            DueRow::Failed
        };
        Ok(Some(DueEmail { claim, row }))
    }
}
