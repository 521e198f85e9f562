//! The statements of an operator: to see requests, to make one, and to open a failed one again.
//!
//! All but [`Requests::insert`] need no more rights than the functions have (`infra/sql/role.sql`).

use serde::Serialize;
use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::{RequestState, Requests};
use crate::database::{DatabaseError, column, limited};
use crate::failure::Failure;

/// Longest that an attempt can live (AWS Lambda, "Function timeout"), in whole minutes, and the time
/// in which clocks may differ. A row that has been `processing` for longer is nobody's.
const MAX_ATTEMPT: time::Duration = time::Duration::minutes(16);

/// A request as an operator sees it. Times are the database's.
#[derive(Debug, Clone, Serialize)]
pub struct Overview {
    /// `id`.
    pub bdr_id: Uuid,
    /// `status`, as the column spells it.
    pub status: String,
    /// Since when it has been in this state.
    #[serde(with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
    /// The artist who asked.
    pub user_id: Option<i32>,
    /// How many artworks were asked for, duplicates included.
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
    /// The database's time of day.
    #[serde(skip)]
    pub now: OffsetDateTime,
}

/// What can be done to have a request processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// It is `failed`: open it again, then publish it.
    Reopen,
    /// It waits, or its attempt has died: publish it.
    Publish,
    /// An attempt may be at work on it: wait.
    Wait,
    /// It was done, and is `ready` or `expired`: nothing.
    Nothing,
}

/// A request to be made.
#[derive(Debug, Clone)]
pub struct NewRequest {
    /// The artist.
    pub user_id: i32,
    /// The posts, in the order they are to have in the archive.
    pub post_ids: Vec<i32>,
    /// Whether `comments.json` is wanted.
    pub include_comments: bool,
    /// Whether `reactions.json` is wanted.
    pub include_reactions: bool,
    /// Whether an e-mail is wanted.
    pub send_email: bool,
}

/// Which requests are looked for.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// These alone; of any id when empty.
    pub bdr_ids: Vec<Uuid>,
    /// In one of these states; in any when empty.
    pub states: Vec<String>,
    /// For so many seconds at least in their state; for however long when 0: one may have come to it since
    /// the statement began.
    pub age_seconds: f64,
    /// At most so many, those that came to their state last.
    pub limit: i64,
}

/// Requests, those that came to their state last first.
const OVERVIEW: &str = "
    SELECT r.id, r.status, r.user_id, cardinality(r.post_ids) AS artworks, r.file_path,
           r.file_size_bytes, r.created_at, r.started_at, r.completed_at, r.expires_at,
           u.public_sqid, s.since, now() AS now
      FROM batch_download_requests AS r
      LEFT JOIN users AS u ON u.id = r.user_id
     CROSS JOIN LATERAL (
           SELECT coalesce(CASE r.status WHEN 'expired' THEN r.expires_at
                                         WHEN 'ready' THEN r.completed_at
                                         WHEN 'failed' THEN r.completed_at END,
                           greatest(r.created_at, r.started_at)) AS since) AS s
     WHERE (cardinality($1::uuid[]) = 0 OR r.id = ANY ($1))
       AND (cardinality($2::text[]) = 0 OR r.status = ANY ($2))
       AND ($3 = 0 OR s.since <= now() - make_interval(secs => $3))
     ORDER BY s.since DESC, r.id
     LIMIT $4";

/// What the artist was told of a failure. The functions' role may not read it.
const ERROR_MESSAGE: &str =
    "SELECT r.error_message FROM batch_download_requests AS r WHERE r.id = $1";

/// Makes a request as the API does. Relies on no default of the table's.
const INSERT: &str = "
    INSERT INTO batch_download_requests
           (id, user_id, post_ids, include_comments, include_reactions, send_email,
            artwork_count, status, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, cardinality($3), 'pending', now())
        ON CONFLICT (id) DO NOTHING";

/// Opens a failed request again. Its age counts anew: what has waited for a week is given up.
const REOPEN: &str = "
    UPDATE batch_download_requests AS r
       SET status = 'pending', error_message = NULL, completed_at = NULL,
           started_at = greatest(clock_timestamp(), r.started_at + interval '1 microsecond')
     WHERE r.id = $1 AND r.status = 'failed'
 RETURNING r.id";

impl Overview {
    /// What can be done for it. `None` for a state that is none of ours.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        Some(match RequestState::parse(&self.status)? {
            RequestState::Failed => Remedy::Reopen,
            RequestState::Pending => Remedy::Publish,
            RequestState::Processing => match self.started_at {
                Some(started) if self.now - started <= MAX_ATTEMPT => Remedy::Wait,
                _ => Remedy::Publish,
            },
            RequestState::Ready | RequestState::Expired => Remedy::Nothing,
        })
    }
}

impl Requests {
    /// The requests that `filter` describes.
    ///
    /// # Errors
    /// When the database does not answer, or a row is malformed.
    pub async fn overview(&self, filter: &Filter) -> Result<Vec<Overview>, DatabaseError> {
        let rows = self
            .database
            .read(|client| async move {
                let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
                    (&filter.bdr_ids, Type::UUID_ARRAY),
                    (&filter.states, Type::TEXT_ARRAY),
                    (&filter.age_seconds, Type::FLOAT8),
                    (&filter.limit, Type::INT8),
                ];
                client.query_typed(OVERVIEW, &parameters).await
            })
            .await?;
        rows.iter().map(overview).collect()
    }

    /// The request `bdr_id`, if there is one.
    ///
    /// # Errors
    /// When the database does not answer, or the row is malformed.
    pub async fn find(&self, bdr_id: Uuid) -> Result<Option<Overview>, DatabaseError> {
        let filter = Filter { bdr_ids: vec![bdr_id], limit: 1, ..Filter::default() };
        Ok(self.overview(&filter).await?.pop())
    }

    /// `error_message` of a request; none as well where this role may not read it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn error_message(&self, bdr_id: Uuid) -> Result<Option<String>, DatabaseError> {
        let row = self
            .database
            .read(|client| async move {
                client.query_typed_opt(ERROR_MESSAGE, &[(&bdr_id, Type::UUID)]).await
            })
            .await;
        match row {
            Err(DatabaseError::Statement(error))
                if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) =>
            {
                Ok(None)
            }
            row => row?.map_or(Ok(None), |row| column(&row, "error_message")),
        }
    }

    /// Makes a request, `pending` and not published. May be run twice with the same id.
    ///
    /// # Errors
    /// When the database does not answer, or refuses the row: only the API's own role may make one.
    pub async fn insert(&self, bdr_id: Uuid, request: &NewRequest) -> Result<(), DatabaseError> {
        let inserted = self.database.read(|client| async move {
            let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
                (&bdr_id, Type::UUID),
                (&request.user_id, Type::INT4),
                (&request.post_ids, Type::INT4_ARRAY),
                (&request.include_comments, Type::BOOL),
                (&request.include_reactions, Type::BOOL),
                (&request.send_email, Type::BOOL),
            ];
            client.query_typed(INSERT, &parameters).await
        });
        inserted.await.map(drop)
    }

    /// Opens a `failed` request again, and does `meanwhile` while its row is locked, so that no
    /// attempt and no other operator can open or claim it before that is done. Returns whether it
    /// was `failed`. When `meanwhile` fails, or we die, the row is as it was.
    ///
    /// # Errors
    /// As `meanwhile`, or when the database does not answer.
    pub async fn reopen(
        &self,
        bdr_id: Uuid,
        meanwhile: impl AsyncFnOnce() -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        const FAILED: &str = "failed to open the request again";
        let fault = |error: DatabaseError| error.context(FAILED);
        // Dropped, the connection ends, and the transaction with it.
        let mut client = self.database.connection_apart().await.map_err(fault)?;
        let transaction = limited(client.transaction()).await.map_err(fault)?;
        let row = limited(transaction.query_typed_opt(REOPEN, &[(&bdr_id, Type::UUID)])).await;
        if row.map_err(fault)?.is_none() {
            return Ok(false);
        }
        meanwhile().await?;
        limited(transaction.commit()).await.map_err(fault)?;
        Ok(true)
    }
}

fn overview(row: &Row) -> Result<Overview, DatabaseError> {
    Ok(Overview {
        bdr_id: column(row, "id")?,
        status: column(row, "status")?,
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
