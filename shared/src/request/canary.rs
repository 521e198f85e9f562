//! The statement with which the canary repeats its request.

use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::Requests;
use super::operator::MAX_ATTEMPT_SECONDS;
use crate::database::DatabaseError;

/// Reopens a request that is `ready` or `failed`. Its age begins again, and its token grows, so that no
/// earlier attempt can change it. Excludes requests whose attempts may still run, as
/// [`Overview::attempts_end`](super::Overview::attempts_end) does.
const REPEAT: &str = "
    UPDATE batch_download_requests AS r
       SET status = 'pending', error_message = NULL, file_path = NULL, file_size_bytes = NULL,
           completed_at = NULL, expires_at = NULL,
           started_at = greatest(clock_timestamp(), r.started_at + interval '1 microsecond')
     WHERE r.id = $1 AND r.status IN ('ready', 'failed')
       AND (r.started_at IS NULL
            OR r.started_at < clock_timestamp() - make_interval(secs => $2))
 RETURNING r.id";

impl Requests {
    /// Reopens the canary's request after its ZIP was deleted. Returns whether it was `ready` or `failed`, and
    /// all its attempts had ended.
    ///
    /// If the response is lost, the request is `pending` and the result `false`: the cleanup publishes it
    /// after an hour.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn repeat(&self, bdr_id: Uuid) -> Result<bool, DatabaseError> {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&bdr_id, Type::UUID), (&MAX_ATTEMPT_SECONDS, Type::FLOAT8)];
        Ok(!self.rows(REPEAT, &parameters).await?.is_empty())
    }
}
