//! The statements of an erasure: they close requests so that no attempt stores a ZIP any more.
//!
//! An erased request is `expired`, whatever its state was. From `expired` there is no way back: no
//! attempt claims it, a running attempt finds it closed, and no operator can reopen it, as a redrive
//! would reopen a `failed` one.

use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::Requests;
use super::maintenance::PAGE;
use crate::database::{DatabaseError, column};

/// The common part of the statements that close requests for an erasure. `$2` is the size of a page.
macro_rules! erase_where {
    ($condition:literal) => {
        concat!(
            "
    UPDATE batch_download_requests AS r
       SET status = 'expired', file_path = NULL, file_size_bytes = NULL, error_message = NULL,
           completed_at = coalesce(r.completed_at, now()),
           expires_at = least(r.expires_at, now())
     WHERE r.status IN ('pending', 'processing', 'ready', 'failed')
       AND r.id = ANY (ARRAY(SELECT s.id
                               FROM batch_download_requests AS s
                              WHERE s.status IN ('pending', 'processing', 'ready', 'failed')
                                AND ",
            $condition,
            "
                              LIMIT $2))
 RETURNING r.id"
        )
    };
}

/// Closes a page of the requests of the users `$1`.
const ERASE_OF_USERS: &str = erase_where!("s.user_id = ANY ($1)");

/// Closes the request `$1`.
const ERASE_REQUEST: &str = erase_where!("s.id = $1");

/// The users with this public id: stored, or not stored and encoded from the id `$2`.
const USERS: &str = "
    SELECT u.id::bigint
      FROM users AS u
     WHERE u.public_sqid = $1 OR u.id = $2 AND coalesce(u.public_sqid, '') = ''";

impl Requests {
    /// Returns the ids of the users whose public id is `user_sqid`. `user_id` is the id that it
    /// encodes, if it encodes one.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn users_of(
        &self,
        user_sqid: &str,
        user_id: Option<i64>,
    ) -> Result<Vec<i64>, DatabaseError> {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&user_sqid, Type::TEXT), (&user_id, Type::INT8)];
        self.rows(USERS, &parameters).await?.iter().map(|row| column(row, "id")).collect()
    }

    /// Closes a page of the requests of these users for an erasure. Returns their number; 0 if none
    /// is left.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn erase_of_users(&self, user_ids: &[i64]) -> Result<usize, DatabaseError> {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&user_ids, Type::INT8_ARRAY), (&PAGE, Type::INT8)];
        Ok(self.rows(ERASE_OF_USERS, &parameters).await?.len())
    }

    /// Closes a request for an erasure. Returns 0 if it does not exist or is `expired`, and 1
    /// otherwise.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn erase_request(&self, bdr_id: Uuid) -> Result<usize, DatabaseError> {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&bdr_id, Type::UUID), (&PAGE, Type::INT8)];
        Ok(self.rows(ERASE_REQUEST, &parameters).await?.len())
    }
}
