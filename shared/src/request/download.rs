//! What is to be known of a request before its ZIP is handed out.

use time::OffsetDateTime;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Requests;
use crate::database::{DatabaseError, column};

/// A request as the download sees it.
#[derive(Debug, Clone)]
pub struct Download {
    /// `status`, as the column spells it.
    pub status: String,
    /// `file_path`.
    pub file_path: Option<String>,
    /// `file_size_bytes`.
    pub size_bytes: Option<i64>,
    /// `expires_at`.
    pub expires_at: Option<OffsetDateTime>,
    /// The database's time of day, by which `expires_at` was set.
    pub now: OffsetDateTime,
}

/// A request of this artist's; somebody else's is none.
const DOWNLOAD: &str = "
    SELECT r.status, r.file_path, r.file_size_bytes, r.expires_at, now() AS now
      FROM batch_download_requests AS r
     WHERE r.id = $1 AND r.user_id = $2";

impl Requests {
    /// The request `bdr_id` if it is `user_id`'s. This is the first statement of an invocation.
    ///
    /// # Errors
    /// When the database does not answer, or the row is malformed.
    pub async fn download(
        &self,
        bdr_id: Uuid,
        user_id: i32,
    ) -> Result<Option<Download>, DatabaseError> {
        let row = self
            .database
            .execute_idempotent(|client| async move {
                let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
                    [(&bdr_id, Type::UUID), (&user_id, Type::INT4)];
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
