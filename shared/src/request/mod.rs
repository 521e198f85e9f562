//! The row of a request (`batch_download_requests`), its states, and all statements that change
//! them.
//!
//! ```text
//! pending ──claim──▶ processing ──ready──▶ ready ──expire──▶ expired
//!    ▲                 │     │
//!    └────release──────┘     └──fail, give up──▶ failed   (pending gives up after a week)
//!    └───────────────────reopen (an operator)──────┘   (resume: failed ──▶ processing, of a large export)
//! ```
//!
//! An erasure marks a request in any state `expired`. The canary's request returns from `ready` and `failed` to
//! `pending` every hour.
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
//!
//! A statement without a response may also take effect late, after its retry or after its attempt
//! has given it up. `claim` and `ready` are written so that this does no harm ([`Requests::claim`],
//! [`Requests::ready`]); `release` and `fail` change nothing without their token.

mod canary;
mod download;
mod due_email;
mod erasure;
mod maintenance;
mod operator;
mod row;

use std::sync::Arc;

use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

pub use download::Download;
pub use due_email::{DueEmail, DueRow};
pub use maintenance::{
    EXPIRED, Expired, ExpiryCursor, GIVE_UP, PAGE, PURGE, Republication, STUCK, Stuck, UNPUBLISHED,
    UNPUBLISHED_IN_TURN,
};
pub use operator::{Filter, MAX_ATTEMPT_DURATION, NewRequest, Overview, Remedy};
pub use row::RequestRow;

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
    /// The ZIP was deleted after `expires_at`, or erased.
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
    /// The server's time when it executed the claim, and the local time when its response arrived.
    executed_at: (OffsetDateTime, Instant),
    /// The artist who made the request.
    pub user_id: Option<i64>,
    /// The requested artworks, in order, possibly with duplicates.
    pub post_ids: Vec<i64>,
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
    /// The row was not changed: it is closed or deleted.
    Closed(ClosedRow),
    /// The row was not changed: a newer attempt holds it.
    Superseded,
}

/// Whether a row that a change found closed may refer to a ZIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedRow {
    /// `ready`: the row refers to the ZIP, which all attempts share. Also an unknown state.
    WithArchive,
    /// `failed`, `expired` or deleted: no row refers to a ZIP.
    WithoutArchive,
}

/// The requests in the database. Cloning is cheap.
#[derive(Clone)]
pub struct Requests {
    database: Arc<Database>,
}

/// The common part of the statements that claim a request. The token always grows, even if the
/// server's clock is set back.
macro_rules! claim_where {
    ($condition:literal) => {
        concat!(
            "
    UPDATE batch_download_requests AS r
       SET status = 'processing',
           started_at = greatest(clock_timestamp(), r.started_at + interval '1 microsecond'),
           error_message = NULL,
           completed_at = NULL
     WHERE r.id = $1 AND ",
            $condition,
            "
 RETURNING r.started_at, r.user_id::bigint, r.post_ids::bigint[], r.include_comments,
           r.include_reactions, r.send_email, clock_timestamp() AS executed_at"
        )
    };
}

/// Claims a request that no attempt holds.
const CLAIM: &str = claim_where!("r.status = 'pending'");

/// Claims a request from the attempt with the token `$2`, which is dead or will find another token.
const TAKE_OVER: &str =
    claim_where!("r.status IN ('pending', 'processing') AND r.started_at IS NOT DISTINCT FROM $2");

/// How often a claim reads the row and tries to take it over. One try fails only if another attempt
/// claimed or released the row in the milliseconds between the two statements.
const TAKE_OVER_TRIES: u32 = 3;

/// The state of a request and its token.
const STATE: &str =
    "SELECT r.status, r.started_at FROM batch_download_requests AS r WHERE r.id = $1";

/// Marks the request `ready`, unless `$6` has passed. `expires_at` counts from the first run by the
/// database's clock; a retry, and a first run that arrives after its retry, keep it.
const READY: &str = "
    UPDATE batch_download_requests AS r
       SET status = 'ready', started_at = $2, file_path = $3, file_size_bytes = $4,
           error_message = NULL,
           completed_at = CASE r.status WHEN 'ready' THEN r.completed_at ELSE now() END,
           expires_at = CASE r.status WHEN 'ready' THEN r.expires_at
                                      ELSE now() + make_interval(days => $5) END
     WHERE r.id = $1
       AND (r.status IN ('pending', 'processing') AND clock_timestamp() < $6
            OR r.status = 'ready' AND r.started_at = $2)
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
    /// A claim without a response is retried on a new connection, and may take effect after its
    /// retry, as long as the server has its bytes. It must not replace the token of the retry or of
    /// a later attempt, which would then change nothing any more. No clock decides this, because the
    /// server's `now()` is the arrival of the statement, and the local clock may differ. Instead,
    /// each statement depends on what its successor changes:
    ///
    /// - A `pending` row is held by no attempt, and `CLAIM` changes no other. If the retry claimed
    ///   the row, it is `processing`, and the late `CLAIM` changes nothing.
    /// - `TAKE_OVER` names the token that was read. If the retry or another attempt claimed the row,
    ///   its token has grown, and the late `TAKE_OVER` changes nothing.
    ///
    /// A claim that took effect without a response leaves the row `processing` with a token that no
    /// attempt has. The retry takes the row over as from a dead attempt.
    ///
    /// # Errors
    /// When the database does not respond, the row is malformed, or other attempts keep changing it.
    pub async fn claim(&self, bdr_id: Uuid) -> Result<Claimed, DatabaseError> {
        let mut row = self
            .database
            .execute_idempotent(|client| async move {
                client.query_typed_opt(CLAIM, &[(&bdr_id, Type::UUID)]).await
            })
            .await?;
        for _ in 0..TAKE_OVER_TRIES {
            if row.is_some() {
                break;
            }
            let Some((status, token)) = self.state(bdr_id).await? else {
                return Ok(Claimed::NotFound);
            };
            let state = RequestState::parse(&status);
            if !state.is_some_and(RequestState::is_open) {
                return Ok(Claimed::Closed(state));
            }
            row = self
                .database
                .execute_idempotent(|client| async move {
                    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
                        [(&bdr_id, Type::UUID), (&token, Type::TIMESTAMPTZ)];
                    client.query_typed_opt(TAKE_OVER, &parameters).await
                })
                .await?;
        }
        let row = row.ok_or(DatabaseError::Contended)?;
        let token = column(&row, "started_at")?;
        let mut claim = Claim::new(bdr_id, token, column(&row, "executed_at")?);
        Ok(match read_columns(&row, &mut claim) {
            Ok(()) => Claimed::Ours(claim),
            Err(error) => Claimed::Malformed(claim, error),
        })
    }

    /// Marks the request `ready` with its ZIP. `Done` holds `expires_at`; only one attempt gets it,
    /// and that attempt sends the e-mail.
    ///
    /// The statement has no effect after `stop_at`, so that an attempt which gives it up then can
    /// rely on the row that it reads afterwards. The server's clock measures `stop_at`, from the
    /// time at which it executed the claim. After `stop_at` the statement still recognizes its own
    /// change.
    ///
    /// # Errors
    /// When the database does not respond, or executes the statement after `stop_at`.
    pub async fn ready(
        &self,
        claim: &Claim,
        archive: &ArchiveKey,
        size_bytes: u64,
        expires_after_days: i32,
        stop_at: Instant,
    ) -> Result<Change<OffsetDateTime>, DatabaseError> {
        let deadline = claim.server_time(stop_at);
        let size_bytes = i64::try_from(size_bytes).unwrap_or(i64::MAX);
        let row = self
            .database
            .execute_idempotent(|client| async move {
                let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
                    (&claim.bdr_id, Type::UUID),
                    (&claim.token, Type::TIMESTAMPTZ),
                    (&archive.as_str(), Type::TEXT),
                    (&size_bytes, Type::INT8),
                    (&expires_after_days, Type::INT4),
                    (&deadline, Type::TIMESTAMPTZ),
                ];
                client.query_typed_opt(READY, &parameters).await
            })
            .await?;
        match row {
            Some(row) => Ok(Change::Done(column(&row, "expires_at")?)),
            None => match self.state(claim.bdr_id).await? {
                Some((status, token)) if is_open(&status) && token == Some(claim.token) => {
                    Err(DatabaseError::TooLate)
                }
                state => Ok(unchanged(state)),
            },
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
            None => Ok(unchanged(self.state(claim.bdr_id).await?)),
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
            None => Ok(unchanged(self.state(claim.bdr_id).await?)),
        }
    }

    /// Returns status and token of the request, if it exists.
    async fn state(&self, bdr_id: Uuid) -> Result<Option<RowState>, DatabaseError> {
        let row =
            self.database
                .read(|client| async move {
                    client.query_typed_opt(STATE, &[(&bdr_id, Type::UUID)]).await
                })
                .await?;
        row.map(|row| Ok((column(&row, "status")?, column(&row, "started_at")?))).transpose()
    }
}

/// `status` and `started_at` of a row.
type RowState = (String, Option<OffsetDateTime>);

impl Claim {
    /// Creates a claim whose columns are not read yet. The server executed its statement at
    /// `executed_at`, and the response has just arrived.
    fn new(bdr_id: Uuid, token: OffsetDateTime, executed_at: OffsetDateTime) -> Self {
        Self {
            bdr_id,
            token,
            executed_at: (executed_at, Instant::now()),
            user_id: None,
            post_ids: Vec::new(),
            include_comments: false,
            include_reactions: false,
            send_email: false,
        }
    }

    /// Converts a local time to the server's clock. The result is never later than the server's
    /// time at that moment, because the response of the claim arrived after its execution.
    fn server_time(&self, at: Instant) -> OffsetDateTime {
        let (executed, received) = self.executed_at;
        executed + at.saturating_duration_since(received)
    }
}

fn is_open(status: &str) -> bool {
    RequestState::parse(status).is_some_and(RequestState::is_open)
}

/// Returns why an UPDATE changed no row, from the row as read afterwards.
fn unchanged<T>(state: Option<RowState>) -> Change<T> {
    match state {
        Some((status, _)) => match RequestState::parse(&status) {
            Some(RequestState::Pending | RequestState::Processing) => Change::Superseded,
            Some(RequestState::Failed | RequestState::Expired) => {
                Change::Closed(ClosedRow::WithoutArchive)
            }
            Some(RequestState::Ready) | None => Change::Closed(ClosedRow::WithArchive),
        },
        None => Change::Closed(ClosedRow::WithoutArchive),
    }
}

/// Reads the columns of a claimed row. Reads the e-mail's columns first, because a malformed row
/// also leads to an e-mail.
fn read_columns(row: &Row, claim: &mut Claim) -> Result<(), DatabaseError> {
    let flag = |name| Ok(column::<Option<bool>>(row, name)?.unwrap_or(false));
    claim.user_id = column(row, "user_id")?;
    claim.send_email = flag("send_email")?;
    let post_ids: Option<Vec<Option<i64>>> = column(row, "post_ids")?;
    claim.post_ids = post_ids.unwrap_or_default().into_iter().flatten().collect();
    claim.include_comments = flag("include_comments")?;
    claim.include_reactions = flag("include_reactions")?;
    Ok(())
}
