//! The columns of a request that decide about its download.

use time::OffsetDateTime;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Requests;
use crate::database::{DatabaseError, column};

/// A request whose ZIP may be downloaded.
#[derive(Debug, Clone)]
pub struct Download {
    /// `status` as stored.
    pub status: String,
    /// `file_path`.
    pub file_path: Option<String>,
    /// `file_size_bytes`.
    pub size_bytes: Option<i64>,
    /// `expires_at`.
    pub expires_at: Option<OffsetDateTime>,
    /// The current time of the database, whose clock sets `expires_at`.
    pub now: OffsetDateTime,
}

/// A request of this artist; no row for another artist's request.
const DOWNLOAD: &str = "
    SELECT r.status, r.file_path, r.file_size_bytes, r.expires_at, now() AS now
      FROM batch_download_requests AS r
     WHERE r.id = $1 AND r.user_id = $2";

impl Requests {
    /// Returns the request `bdr_id` if it belongs to `user_id`. This is the first statement of an
    /// invocation.
    ///
    /// # Errors
    /// When the database does not respond, or the row is malformed.
    pub async fn download(
        &self,
        bdr_id: Uuid,
        user_id: i64,
    ) -> Result<Option<Download>, DatabaseError> {
        let row = self
            .database
            .execute_idempotent(|client| async move {
                let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
                    [(&bdr_id, Type::UUID), (&user_id, Type::INT8)];
                client.query_typed_opt(DOWNLOAD, &parameters).await
            })
            .await?;
        row.map(|row| {
            Ok(Download {
                status: column(&row, "status")?,
                file_path: column(&row, "file_path")?,
                size_bytes: column(&row, "file_size_bytes")?,
                expires_at: column(&row, "expires_at")?,
                now: column(&row, "now")?,
            })
        })
        .transpose()
    }
}
