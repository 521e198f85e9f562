//! The statements of an operator: list requests, insert one, and reopen a failed one.
//!
//! Except [`Requests::insert`], they need no more privileges than the functions
//! (`infra/sql/adapters/`).

use serde::Serialize;
use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::{RequestState, Requests};
use crate::database::{DatabaseError, column, limited};
use crate::failure::Failure;

/// Maximum duration of an attempt: 15 min (AWS Lambda, "Function timeout") and 1 min for the
/// difference of clocks. An attempt that has been `processing` for longer is dead.
pub const MAX_ATTEMPT_DURATION: time::Duration = time::Duration::minutes(16);
/// [`MAX_ATTEMPT_DURATION`] in seconds, for `make_interval`.
pub(super) const MAX_ATTEMPT_SECONDS: f64 = 960.0;

/// A request with the columns an operator needs. Times are those of the database's clock.
#[derive(Debug, Clone, Serialize)]
pub struct Overview {
    /// `id`.
    pub bdr_id: Uuid,
    /// `status`, but `expired` from `expires_at` on.
    pub status: String,
    /// Whether the archive has expired and the cleanup has not deleted it yet: the row is still `ready`.
    pub awaits_cleanup: bool,
    /// The time of the change to this state.
    #[serde(with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
    /// The artist who made the request.
    pub user_id: Option<i64>,
    /// Number of requested artworks, including duplicates.
    pub artworks: Option<i32>,
    /// `file_path`.
    pub file_path: Option<String>,
    /// `file_size_bytes`.
    pub file_size_bytes: Option<i64>,
    /// `created_at`.
    #[serde(with = "time::serde::rfc3339::option")]
    pub created_at: Option<OffsetDateTime>,
    /// `started_at`.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// `completed_at`.
    #[serde(with = "time::serde::rfc3339::option")]
    pub completed_at: Option<OffsetDateTime>,
    /// `expires_at`.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    /// `users.public_sqid` of the artist.
    #[serde(skip)]
    pub user_sqid: Option<String>,
    /// The current time of the database.
    #[serde(skip)]
    pub now: OffsetDateTime,
}

/// The action that gets a request processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The request is `failed`: reopen it, then publish it.
    Reopen,
    /// The request is `pending`, or its attempt is dead: publish it.
    Publish,
    /// An attempt may be running, even if the request is `failed`: an attempt that lost the row to
    /// the one that failed. It could mark the request `ready` after an operator deleted the ZIP and
    /// reopened it: wait until [`Overview::attempts_end`].
    Wait,
    /// The request is `ready` or `expired`: do nothing.
    Nothing,
}

/// A request to insert.
#[derive(Debug, Clone)]
pub struct NewRequest {
    /// The artist.
    pub user_id: i64,
    /// The posts, in the order of the archive.
    pub post_ids: Vec<i64>,
    /// Whether the ZIP includes `comments.json`.
    pub include_comments: bool,
    /// Whether the ZIP includes `reactions.json`.
    pub include_reactions: bool,
    /// Whether the artist wants an e-mail.
    pub send_email: bool,
}

/// A filter of requests.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// These requests only; all if empty.
    pub bdr_ids: Vec<Uuid>,
    /// In one of these states ([`Overview::status`]) only; in any state if empty.
    pub states: Vec<String>,
    /// Minimum time in the state, in seconds. 0 disables the check: a request may have changed its
    /// state after the statement started.
    pub age_seconds: f64,
    /// Maximum number of requests; those with the latest change of state.
    pub limit: i64,
}

/// Requests by their change of state, latest first. `$5` are the stored states of the states `$2`, for an
/// index.
const OVERVIEW: &str = "
    SELECT r.id, e.status, e.status <> r.status AS awaits_cleanup, r.user_id::bigint, cardinality(r.post_ids) AS artworks, r.file_path,
           r.file_size_bytes, r.created_at, r.started_at, r.completed_at, r.expires_at,
           u.public_sqid::text, s.since, now() AS now
      FROM batch_download_requests AS r
      LEFT JOIN users AS u ON u.id = r.user_id
     CROSS JOIN LATERAL (
           SELECT CASE WHEN r.status = 'ready' AND r.expires_at <= now() THEN 'expired'
                       ELSE r.status::text END AS status) AS e
     CROSS JOIN LATERAL (
           SELECT coalesce(CASE e.status WHEN 'expired' THEN r.expires_at
                                         WHEN 'ready' THEN r.completed_at
                                         WHEN 'failed' THEN r.completed_at END,
                           greatest(r.created_at, r.started_at)) AS since) AS s
     WHERE (cardinality($1::uuid[]) = 0 OR r.id = ANY ($1))
       AND (cardinality($2::text[]) = 0 OR r.status = ANY ($5::text[]) AND e.status = ANY ($2))
       AND ($3 = 0 OR s.since <= now() - make_interval(secs => $3))
     ORDER BY s.since DESC, r.id
     LIMIT $4";

/// The message to the artist about a failure. The role of the functions has no privilege to read
/// it.
const ERROR_MESSAGE: &str =
    "SELECT r.error_message FROM batch_download_requests AS r WHERE r.id = $1";

/// Inserts a request as the API does. Does not rely on defaults of the table.
const INSERT: &str = "
    INSERT INTO batch_download_requests
           (id, user_id, post_ids, include_comments, include_reactions, send_email,
            artwork_count, status, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, cardinality($3), 'pending', now())
        ON CONFLICT (id) DO NOTHING";

/// Reopens a failed request. Restarts its age, because the cleanup gives up requests after 7 days
/// of `pending`. Excludes requests whose attempts may still run, as [`Overview::remedy`] does.
const REOPEN: &str = "
    UPDATE batch_download_requests AS r
       SET status = 'pending', error_message = NULL, completed_at = NULL,
           started_at = greatest(clock_timestamp(), r.started_at + interval '1 microsecond')
     WHERE r.id = $1 AND r.status = 'failed'
       AND (r.started_at IS NULL
            OR r.started_at < clock_timestamp() - make_interval(secs => $2))
 RETURNING r.id";

/// Takes the row of a failed export over, for another execution of it, as a claim does. Its attempt has ended.
const RESUME: &str = "
    UPDATE batch_download_requests AS r
       SET status = 'processing', error_message = NULL, completed_at = NULL,
           started_at = greatest(clock_timestamp(), r.started_at + interval '1 microsecond')
     WHERE r.id = $1 AND r.status IN ('failed', 'processing') AND r.started_at = $2
 RETURNING r.started_at";

impl Overview {
    /// Returns the action that gets the request processed, or `None` for an unknown state.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        let may_run = self.attempts_end().is_some_and(|end| self.now <= end);
        Some(match RequestState::parse(&self.status)? {
            RequestState::Failed | RequestState::Processing if may_run => Remedy::Wait,
            RequestState::Failed => Remedy::Reopen,
            RequestState::Pending | RequestState::Processing => Remedy::Publish,
            RequestState::Ready | RequestState::Expired => Remedy::Nothing,
        })
    }
}

impl Overview {
    /// Returns the time at which the latest attempt, and any that it took the row over from, has
    /// ended. `None` if the request was never claimed.
    #[must_use]
    pub fn attempts_end(&self) -> Option<OffsetDateTime> {
        self.started_at.map(|started| started.saturating_add(MAX_ATTEMPT_DURATION))
    }
}

impl Requests {
    /// Returns the requests that match `filter`.
    ///
    /// # Errors
    /// When the database does not respond, or a row is malformed.
    pub async fn overview(&self, filter: &Filter) -> Result<Vec<Overview>, DatabaseError> {
        let mut stored = filter.states.clone();
        if stored.iter().any(|state| state == "expired") {
            stored.push("ready".to_owned());
        }
        let stored = &stored;
        let rows = self
            .database
            .read(|client| async move {
                let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
                    (&filter.bdr_ids, Type::UUID_ARRAY),
                    (&filter.states, Type::TEXT_ARRAY),
                    (&filter.age_seconds, Type::FLOAT8),
                    (&filter.limit, Type::INT8),
                    (stored, Type::TEXT_ARRAY),
                ];
                client.query_typed(OVERVIEW, &parameters).await
            })
            .await?;
        rows.iter().map(overview).collect()
    }

    /// Returns the request `bdr_id`, if it exists.
    ///
    /// # Errors
    /// When the database does not respond, or the row is malformed.
    pub async fn find(&self, bdr_id: Uuid) -> Result<Option<Overview>, DatabaseError> {
        let filter = Filter { bdr_ids: vec![bdr_id], limit: 1, ..Filter::default() };
        Ok(self.overview(&filter).await?.pop())
    }

    /// Returns `error_message` of a request. Returns `None` if the role has no privilege to read
    /// it.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn error_message(&self, bdr_id: Uuid) -> Result<Option<String>, DatabaseError> {
        let row = self
            .database
            .read(|client| async move {
                client.query_typed_opt(ERROR_MESSAGE, &[(&bdr_id, Type::UUID)]).await
            })
            .await;
        match row {
            Err(error) if error.is_denied() => Ok(None),
            row => row?.map_or(Ok(None), |row| column(&row, "error_message")),
        }
    }

    /// Inserts a request as `pending` and does not publish it. Idempotent for the same id.
    ///
    /// # Errors
    /// When the database does not respond, or rejects the row: only the API's role may insert
    /// requests.
    pub async fn insert(&self, bdr_id: Uuid, request: &NewRequest) -> Result<(), DatabaseError> {
        let inserted = self.database.read(|client| async move {
            let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
                (&bdr_id, Type::UUID),
                (&request.user_id, Type::INT8),
                (&request.post_ids, Type::INT8_ARRAY),
                (&request.include_comments, Type::BOOL),
                (&request.include_reactions, Type::BOOL),
                (&request.send_email, Type::BOOL),
            ];
            client.query_typed(INSERT, &parameters).await
        });
        // Only the API's role may insert, whatever the adapter.
        inserted.await.map(drop).map_err(DatabaseError::unexplained)
    }

    /// Takes over the row of an export whose execution has ended, if it still has this fencing token.
    /// Returns its new one. If the response is lost, the row is `processing`, and no execution has its token.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn resume(
        &self,
        bdr_id: Uuid,
        token: OffsetDateTime,
    ) -> Result<Option<OffsetDateTime>, DatabaseError> {
        let rows = self.rows(RESUME, &[(&bdr_id, Type::UUID), (&token, Type::TIMESTAMPTZ)]).await?;
        rows.first().map(|row| column(row, "started_at")).transpose()
    }

    /// Reopens a `failed` request. Runs `while_locked` while the row is locked, so that no attempt
    /// can claim and no other operator can reopen the request before it ends. Returns whether the
    /// request was `failed` and all its attempts had ended. If `while_locked` fails or the process dies, the row is unchanged.
    ///
    /// # Errors
    /// When `while_locked` fails, or the database does not respond.
    pub async fn reopen(
        &self,
        bdr_id: Uuid,
        while_locked: impl AsyncFnOnce() -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        const FAILED: &str = "failed to reopen the request";
        let fault = |error: DatabaseError| error.context(FAILED);
        // A drop closes the connection, which rolls the transaction back.
        let mut client = self.database.dedicated_connection().await.map_err(fault)?;
        let transaction = limited(client.transaction()).await.map_err(fault)?;
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&bdr_id, Type::UUID), (&MAX_ATTEMPT_SECONDS, Type::FLOAT8)];
        let row = limited(transaction.query_typed_opt(REOPEN, &parameters)).await;
        if row.map_err(fault)?.is_none() {
            return Ok(false);
        }
        while_locked().await?;
        limited(transaction.commit()).await.map_err(fault)?;
        Ok(true)
    }
}

fn overview(row: &Row) -> Result<Overview, DatabaseError> {
    Ok(Overview {
        bdr_id: column(row, "id")?,
        status: column(row, "status")?,
        awaits_cleanup: column(row, "awaits_cleanup")?,
        since: column(row, "since")?,
        user_id: column(row, "user_id")?,
        artworks: column(row, "artworks")?,
        file_path: column(row, "file_path")?,
        file_size_bytes: column(row, "file_size_bytes")?,
        created_at: column(row, "created_at")?,
        started_at: column(row, "started_at")?,
        completed_at: column(row, "completed_at")?,
        expires_at: column(row, "expires_at")?,
        user_sqid: column(row, "public_sqid")?,
        now: column(row, "now")?,
    })
}
