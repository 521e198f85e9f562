//! The statements of the cleanup.
//!
//! They work in pages of at most [`PAGE`] rows and use the database's clock. Two cleanups can run
//! at once: each row is changed and counted by one of them.

use time::OffsetDateTime;
use time::macros::datetime;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::Requests;
use crate::database::{DatabaseError, column, limited};
use crate::queue::Publication;

/// Rows per page: the keys that one `DeleteObjects` call accepts.
pub const PAGE: i64 = 1000;

/// The position after a page of expired requests. It skips rows that failed to clean up, so that a
/// run neither repeats them nor stops at them.
#[derive(Debug, Clone, Copy)]
pub struct ExpiryCursor(OffsetDateTime, Uuid);

impl Default for ExpiryCursor {
    fn default() -> Self {
        Self(datetime!(0001-01-01 0:00 UTC), Uuid::nil())
    }
}

/// A request whose `expires_at` has passed.
#[derive(Debug, Clone)]
pub struct Expired {
    /// `id`.
    pub bdr_id: Uuid,
    /// `file_path`.
    pub file_path: Option<String>,
}

/// A state in which a request is stuck after a time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stuck {
    /// `processing` for 6 h: longer than all attempts and their delays together.
    Processing,
    /// `pending` for 7 days, although the cleanup published it again.
    Pending,
}

/// Which of the requests that have been `pending` for over an hour are published again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Republication {
    /// All.
    All,
    /// Those whose turn it is in this hour: a request has eight turns in its seven days, in the first hour
    /// and once within every further span of 2, 4, 8, … 128 h. Its id chooses the hour of the span, so that
    /// requests that became `pending` together have their later turns apart.
    InTurn,
}

// Statements that search for rows are public so that a test can check their plans. Their indexes
// are in `infra/sql/indexes.sql`.

/// A page of requests whose `expires_at` has passed, oldest first, by the index on
/// `(status, expires_at)`.
pub const EXPIRED: &str = "
    SELECT r.id, r.file_path, r.expires_at
      FROM batch_download_requests AS r
     WHERE r.status = 'ready' AND r.expires_at < now()
       AND r.expires_at >= $1 AND (r.expires_at, r.id) > ($1, $2)
     ORDER BY r.expires_at, r.id
     LIMIT $3";

/// Marks requests `expired` whose ZIPs are deleted.
const EXPIRE: &str = "
    UPDATE batch_download_requests AS r
       SET status = 'expired', file_path = NULL, file_size_bytes = NULL
     WHERE r.id = ANY ($1) AND r.status = 'ready' AND r.expires_at < now()
 RETURNING r.id";

/// A page of requests that have been in a state for over `$2` hours, without the requests `$4`.
pub const STUCK: &str = "
    SELECT r.id, r.started_at
      FROM batch_download_requests AS r
     WHERE r.status = $1 AND greatest(r.created_at, r.started_at) < now() - make_interval(hours => $2)
       AND r.id <> ALL ($4)
     LIMIT $3";

/// Marks a page of requests `failed` that have been in a state for over `$2` hours; only of the requests
/// `$5`, unless it is null.
pub const GIVE_UP: &str = "
    UPDATE batch_download_requests AS r
       SET status = 'failed', error_message = $3, completed_at = now()
     WHERE r.status = $1
       AND r.id = ANY (ARRAY(SELECT s.id
                               FROM batch_download_requests AS s
                              WHERE s.status = $1
                                AND greatest(s.created_at, s.started_at)
                                    < now() - make_interval(hours => $2)
                                AND ($5::uuid[] IS NULL OR s.id = ANY ($5))
                              LIMIT $4
                                FOR UPDATE SKIP LOCKED))
 RETURNING r.id";

/// Requests that have been `pending` for over an hour, oldest first: their message may never have been
/// published.
pub const UNPUBLISHED: &str = "
    SELECT r.id, r.user_id::bigint
      FROM batch_download_requests AS r
     WHERE r.status = 'pending'
       AND greatest(r.created_at, r.started_at) < now() - interval '1 hour'
     ORDER BY greatest(r.created_at, r.started_at), r.id
     LIMIT $1";

/// Requests whose turn it is in this hour ([`Republication::InTurn`]). First turns precede others, whose
/// message was published before. Among the rest a page takes other rows in every run. Times are compared
/// and not subtracted, because they may be infinite.
pub const UNPUBLISHED_IN_TURN: &str = "
    SELECT r.id, r.user_id::bigint
      FROM batch_download_requests AS r
     CROSS JOIN LATERAL (SELECT (1 << n) + (hashtext(r.id::text) & ((1 << n) - 1)) AS hours
                           FROM generate_series(0, 7) AS n) AS turn
     WHERE r.status = 'pending'
       AND greatest(r.created_at, r.started_at) <= now() - make_interval(hours => turn.hours)
       AND greatest(r.created_at, r.started_at) > now() - make_interval(hours => turn.hours + 1)
     ORDER BY turn.hours, hashtext(r.id::text || now()::text)
     LIMIT $1";

/// The states of requests. Those that do not exist have no row.
const STATES: &str =
    "SELECT r.id, r.status FROM batch_download_requests AS r WHERE r.id = ANY ($1)";

/// Deletes a page of requests that have been closed for over `$1` days.
pub const PURGE: &str = "
    DELETE FROM batch_download_requests AS r
     WHERE r.id = ANY (ARRAY(SELECT s.id
                               FROM batch_download_requests AS s
                              WHERE s.status IN ('expired', 'failed')
                                AND greatest(s.created_at, s.completed_at, s.expires_at)
                                    < now() - make_interval(days => $1)
                              LIMIT $2
                                FOR UPDATE SKIP LOCKED))
 RETURNING r.id";

impl Stuck {
    /// Returns the state as the column `status` spells it.
    #[must_use]
    pub fn state(self) -> &'static str {
        match self {
            Self::Processing => "processing",
            Self::Pending => "pending",
        }
    }

    fn hours(self) -> i32 {
        match self {
            Self::Processing => 6,
            Self::Pending => 7 * 24,
        }
    }
}

impl Requests {
    /// Returns the next page of requests whose `expires_at` has passed, and the position after it.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn expired(
        &self,
        cursor: ExpiryCursor,
    ) -> Result<(Vec<Expired>, ExpiryCursor), DatabaseError> {
        let rows = self
            .rows(
                EXPIRED,
                &[(&cursor.0, Type::TIMESTAMPTZ), (&cursor.1, Type::UUID), (&PAGE, Type::INT8)],
            )
            .await?;
        let next = rows.last().map(|row| {
            Ok::<_, DatabaseError>(ExpiryCursor(column(row, "expires_at")?, column(row, "id")?))
        });
        let page = rows.iter().map(|row| {
            Ok(Expired { bdr_id: column(row, "id")?, file_path: column(row, "file_path")? })
        });
        Ok((page.collect::<Result<_, DatabaseError>>()?, next.transpose()?.unwrap_or(cursor)))
    }

    /// Marks requests `expired` whose ZIPs are deleted. Returns the number of rows that this call
    /// changed.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn expire(&self, bdr_ids: &[Uuid]) -> Result<usize, DatabaseError> {
        Ok(self.rows(EXPIRE, &[(&bdr_ids, Type::UUID_ARRAY)]).await?.len())
    }

    /// Returns a page of requests that are stuck as `stuck` says, with their tokens, without those in
    /// `without`.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn stuck(
        &self,
        stuck: Stuck,
        without: &[Uuid],
    ) -> Result<Vec<(Uuid, Option<OffsetDateTime>)>, DatabaseError> {
        let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
            (&stuck.state(), Type::TEXT),
            (&stuck.hours(), Type::INT4),
            (&PAGE, Type::INT8),
            (&without, Type::UUID_ARRAY),
        ];
        let rows = self.rows(STUCK, &parameters).await?;
        rows.iter().map(|row| Ok((column(row, "id")?, column(row, "started_at")?))).collect()
    }

    /// Marks a page of requests `failed` that are stuck as `stuck` says, with `message` as their
    /// `error_message`; only those in `only`, if given. Returns their ids.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn give_up(
        &self,
        stuck: Stuck,
        message: &str,
        only: Option<&[Uuid]>,
    ) -> Result<Vec<Uuid>, DatabaseError> {
        let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
            (&stuck.state(), Type::TEXT),
            (&stuck.hours(), Type::INT4),
            (&message, Type::TEXT),
            (&PAGE, Type::INT8),
            (&only, Type::UUID_ARRAY),
        ];
        self.ids(GIVE_UP, &parameters).await
    }

    /// Returns at most a page of requests that have been `pending` for over an hour.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn unpublished(
        &self,
        republication: Republication,
    ) -> Result<Vec<Publication>, DatabaseError> {
        let statement = match republication {
            Republication::All => UNPUBLISHED,
            Republication::InTurn => UNPUBLISHED_IN_TURN,
        };
        let rows = self.rows(statement, &[(&PAGE, Type::INT8)]).await?;
        let publication =
            |row| Ok(Publication { bdr_id: column(row, "id")?, user_id: column(row, "user_id")? });
        rows.iter().map(publication).collect()
    }

    /// Returns the states of those requests that exist.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn states(&self, bdr_ids: &[Uuid]) -> Result<Vec<(Uuid, String)>, DatabaseError> {
        let rows = self.rows(STATES, &[(&bdr_ids, Type::UUID_ARRAY)]).await?;
        rows.iter().map(|row| Ok((column(row, "id")?, column(row, "status")?))).collect()
    }

    /// Deletes a page of rows that have been `expired` or `failed` for over `days` days. Returns
    /// their number.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn purge(&self, days: i32) -> Result<usize, DatabaseError> {
        Ok(self.rows(PURGE, &[(&days, Type::INT4), (&PAGE, Type::INT8)]).await?.len())
    }

    async fn ids(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Uuid>, DatabaseError> {
        self.rows(sql, parameters).await?.iter().map(|row| column(row, "id")).collect()
    }

    pub(super) async fn rows(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, DatabaseError> {
        let client = self.database.connection().await?;
        limited(client.query_typed(sql, parameters)).await
    }
}
