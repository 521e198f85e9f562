//! The row of a request (`batch_download_requests`), its states, and all statements that change
//! them.
//!
//! ```text
//! pending ──claim──▶ processing ──ready──▶ ready ──expire──▶ expired
//!    ▲                 │     │
//!    └────release──────┘     └──fail, give up──▶ failed   (pending gives up after a week)
//!    └───────────────────reopen (an operator)──────┘
//! ```
//!
//! No lock is held while bytes move. A claim sets `started_at`, which is the fencing token of the
//! attempt: `release` and `fail` change the row only while it holds that token. Any attempt may set
//! `ready`, because the object in the vault is write-once; this puts the attempt's token in the
//! row.
//!
//! These statements are idempotent. When a connection breaks, the result of the statement is
//! unknown. The retry finds its own token in the target state and returns the same result as a
//! first run. So an attempt with a lost response does not mistake its own change for that of
//! another attempt.

mod download;
mod maintenance;
mod operator;

use std::sync::Arc;

use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

pub use download::Download;
pub use maintenance::{EXPIRED, Expired, ExpiryCursor, GIVE_UP, PAGE, PURGE, Stuck, UNPUBLISHED};
pub use operator::{Filter, NewRequest, Overview, Remedy};

use crate::database::{Database, DatabaseError, column};
use crate::vault::ArchiveKey;

/// The state of a request (the column `status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestState {
    /// Waiting for an attempt.
    Pending,
    /// Claimed by an attempt, which may have died since.
    Processing,
    /// The ZIP is in the vault.
    Ready,
    /// Failed permanently.
    Failed,
    /// The ZIP was deleted after `expires_at`.
    Expired,
}

impl RequestState {
    /// Parses the column. Returns `None` for other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "pending" => Self::Pending,
            "processing" => Self::Processing,
            "ready" => Self::Ready,
            "failed" => Self::Failed,
            "expired" => Self::Expired,
            _ => return None,
        })
    }

    /// Returns whether an attempt may claim a request in this state.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Processing)
    }
}

/// A request that this attempt has claimed.
#[derive(Debug, Clone)]
pub struct Claim {
    /// `id`.
    pub bdr_id: Uuid,
    /// `started_at` as set by this claim: the fencing token.
    pub token: OffsetDateTime,
    /// The artist who made the request.
    pub user_id: Option<i32>,
    /// The requested artworks, in order, possibly with duplicates.
    pub post_ids: Vec<i32>,
    /// Whether the ZIP includes `comments.json`.
    pub include_comments: bool,
    /// Whether the ZIP includes `reactions.json`.
    pub include_reactions: bool,
    /// Whether the artist wants an e-mail.
    pub send_email: bool,
}

/// The result of claiming a request.
#[derive(Debug)]
pub enum Claimed {
    /// This attempt holds the request, until another attempt claims it.
    Ours(Claim),
    /// This attempt holds the request, but its row is malformed.
    Malformed(Claim, DatabaseError),
    /// The request is closed: `ready`, `failed`, `expired`, or (`None`) in an unknown state.
    Closed(Option<RequestState>),
    /// The request does not exist.
    NotFound,
}

/// The result of a change that depends on the state of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<T> {
    /// The row was changed.
    Done(T),
    /// The row was not changed: it is closed (`ready`, `failed`, `expired`) or deleted.
    Closed,
    /// The row was not changed: a newer attempt holds it.
    Superseded,
}

/// The requests in the database. Cloning is cheap.
#[derive(Clone)]
pub struct Requests {
    database: Arc<Database>,
}

/// Claims a request. An earlier attempt may hold it (`processing`): that attempt is dead or will
/// find another token. The token always grows, even if the server's clock is set back.
const CLAIM: &str = "
    UPDATE batch_download_requests AS r
       SET status = 'processing',
           started_at = greatest(clock_timestamp(), r.started_at + interval '1 microsecond'),
           error_message = NULL,
           completed_at = NULL
     WHERE r.id = $1 AND r.status IN ('pending', 'processing')
 RETURNING r.started_at, r.user_id, r.post_ids, r.include_comments, r.include_reactions,
           r.send_email";

/// The state of a request.
const STATUS: &str = "SELECT r.status FROM batch_download_requests AS r WHERE r.id = $1";

/// Marks the request `ready`. `expires_at` counts from the first run by the database's clock; a
/// retry, and a first run that arrives after its retry, keep it.
const READY: &str = "
    UPDATE batch_download_requests AS r
       SET status = 'ready', started_at = $2, file_path = $3, file_size_bytes = $4,
           error_message = NULL,
           completed_at = CASE r.status WHEN 'ready' THEN r.completed_at ELSE now() END,
           expires_at = CASE r.status WHEN 'ready' THEN r.expires_at
                                      ELSE now() + make_interval(days => $5) END
     WHERE r.id = $1
       AND (r.status IN ('pending', 'processing') OR (r.status = 'ready' AND r.started_at = $2))
 RETURNING r.expires_at";

/// Releases the request for a later attempt. Keeps `started_at`, from which the age of the request
/// counts.
const RELEASE: &str = "
    UPDATE batch_download_requests AS r
       SET status = 'pending'
     WHERE r.id = $1 AND r.status IN ('processing', 'pending') AND r.started_at = $2
 RETURNING r.id";

/// Marks the request `failed`.
const FAIL: &str = "
    UPDATE batch_download_requests AS r
       SET status = 'failed', error_message = $3, completed_at = now()
     WHERE r.id = $1 AND r.status IN ('processing', 'failed') AND r.started_at = $2
 RETURNING r.id";

impl Requests {
    /// Creates the requests of `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Checks the connection and reconnects if it is broken, for an invocation whose first
    /// statement is not retried.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn check_connection(&self) -> Result<(), DatabaseError> {
        self.database
            .execute_idempotent(|client| async move { client.check_connection().await })
            .await
    }

    /// Claims `bdr_id`. This is the first statement of an invocation.
    ///
    /// # Errors
    /// When the database does not respond, or the row is malformed.
    pub async fn claim(&self, bdr_id: Uuid) -> Result<Claimed, DatabaseError> {
        let row = self
            .database
            .execute_idempotent(|client| async move {
                client.query_typed_opt(CLAIM, &[(&bdr_id, Type::UUID)]).await
            })
            .await?;
        let Some(row) = row else {
            return Ok(match self.status(bdr_id).await? {
                None => Claimed::NotFound,
                Some(status) => Claimed::Closed(RequestState::parse(&status)),
            });
        };
        let mut claim = Claim {
            bdr_id,
            token: column(&row, "started_at")?,
            user_id: None,
            post_ids: Vec::new(),
            include_comments: false,
            include_reactions: false,
            send_email: false,
        };
        Ok(match read_columns(&row, &mut claim) {
            Ok(()) => Claimed::Ours(claim),
            Err(error) => Claimed::Malformed(claim, error),
        })
    }

    /// Marks the request `ready` with its ZIP. `Done` holds `expires_at`; only one attempt gets it,
    /// and that attempt sends the e-mail.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn ready(
        &self,
        claim: &Claim,
        archive: &ArchiveKey,
        size_bytes: u64,
        expires_after_days: i32,
    ) -> Result<Change<OffsetDateTime>, DatabaseError> {
        let size_bytes = i64::try_from(size_bytes).unwrap_or(i64::MAX);
        let row = self
            .database
            .execute_idempotent(|client| async move {
                let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
                    (&claim.bdr_id, Type::UUID),
                    (&claim.token, Type::TIMESTAMPTZ),
                    (&archive.as_str(), Type::TEXT),
                    (&size_bytes, Type::INT8),
                    (&expires_after_days, Type::INT4),
                ];
                client.query_typed_opt(READY, &parameters).await
            })
            .await?;
        match row {
            Some(row) => Ok(Change::Done(column(&row, "expires_at")?)),
            None => self.unchanged(claim.bdr_id).await,
        }
    }

    /// Releases the request to `pending`, if this attempt holds it.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn release(&self, claim: &Claim) -> Result<Change<()>, DatabaseError> {
        let row = self
            .database
            .execute_idempotent(|client| async move {
                let parameters: [(&(dyn ToSql + Sync), Type); 2] =
                    [(&claim.bdr_id, Type::UUID), (&claim.token, Type::TIMESTAMPTZ)];
                client.query_typed_opt(RELEASE, &parameters).await
            })
            .await?;
        match row {
            Some(_) => Ok(Change::Done(())),
            None => self.unchanged(claim.bdr_id).await,
        }
    }

    /// Marks the request `failed`, if this attempt holds it.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn fail(&self, claim: &Claim, message: &str) -> Result<Change<()>, DatabaseError> {
        let row = self
            .database
            .execute_idempotent(|client| async move {
                let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
                    (&claim.bdr_id, Type::UUID),
                    (&claim.token, Type::TIMESTAMPTZ),
                    (&message, Type::TEXT),
                ];
                client.query_typed_opt(FAIL, &parameters).await
            })
            .await?;
        match row {
            Some(_) => Ok(Change::Done(())),
            None => self.unchanged(claim.bdr_id).await,
        }
    }

    async fn status(&self, bdr_id: Uuid) -> Result<Option<String>, DatabaseError> {
        let row =
            self.database
                .read(|client| async move {
                    client.query_typed_opt(STATUS, &[(&bdr_id, Type::UUID)]).await
                })
                .await?;
        row.map(|row| column(&row, "status")).transpose()
    }

    /// Returns why an UPDATE changed no row.
    async fn unchanged<T>(&self, bdr_id: Uuid) -> Result<Change<T>, DatabaseError> {
        let status = self.status(bdr_id).await?;
        let open = status
            .and_then(|status| RequestState::parse(&status))
            .is_some_and(RequestState::is_open);
        Ok(if open { Change::Superseded } else { Change::Closed })
    }
}

/// Reads the columns of a claimed row. Reads the e-mail's columns first, because a malformed row
/// also leads to an e-mail.
fn read_columns(row: &Row, claim: &mut Claim) -> Result<(), DatabaseError> {
    let flag = |name| Ok(column::<Option<bool>>(row, name)?.unwrap_or(false));
    claim.user_id = column(row, "user_id")?;
    claim.send_email = flag("send_email")?;
    let post_ids: Option<Vec<Option<i32>>> = column(row, "post_ids")?;
    claim.post_ids = post_ids.unwrap_or_default().into_iter().flatten().collect();
    claim.include_comments = flag("include_comments")?;
    claim.include_reactions = flag("include_reactions")?;
    Ok(())
}
