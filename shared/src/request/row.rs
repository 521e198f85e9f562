//! The row of a request as it is, for what neither claims nor changes it.

use time::OffsetDateTime;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{Claim, Requests, read_columns};
use crate::database::{DatabaseError, column};

/// A row, read without a change.
#[derive(Debug)]
pub struct RequestRow {
    /// The request, with the token that the row has. The reader holds it only if it has that token.
    pub claim: Claim,
    /// `status` as stored.
    pub status: String,
    /// `file_path`.
    pub file_path: Option<String>,
    /// `expires_at`.
    pub expires_at: Option<OffsetDateTime>,
    /// The current time of the database, whose clock sets `expires_at`.
    pub now: OffsetDateTime,
}

/// Reads a row.
const ROW: &str = "
    SELECT r.status, r.file_path, r.expires_at, r.started_at, r.user_id::bigint,
           r.post_ids::bigint[], r.include_comments, r.include_reactions, r.send_email, now() AS now
      FROM batch_download_requests AS r
     WHERE r.id = $1";

impl Requests {
    /// Returns the row of `bdr_id`, if it exists. Changes nothing. This is the first statement of an
    /// invocation.
    ///
    /// # Errors
    /// When the database does not respond, or the row is malformed.
    pub async fn row(&self, bdr_id: Uuid) -> Result<Option<RequestRow>, DatabaseError> {
        let row = self
            .database
            .execute_idempotent(|client| async move {
                client.query_typed_opt(ROW, &[(&bdr_id, Type::UUID)]).await
            })
            .await?;
        let Some(row) = row else { return Ok(None) };
        let now = column(&row, "now")?;
        let token: Option<OffsetDateTime> = column(&row, "started_at")?;
        let mut claim = Claim::new(bdr_id, token.unwrap_or(now), now);
        read_columns(&row, &mut claim)?;
        Ok(Some(RequestRow {
            claim,
            status: column(&row, "status")?,
            file_path: column(&row, "file_path")?,
            expires_at: column(&row, "expires_at")?,
            now,
        }))
    }
}
