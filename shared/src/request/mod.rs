//! The row of a request (`batch_download_requests`), its states and every statement that changes
//! them.
//!
//! ```text
//! pending ──claim──▶ processing ──ready──▶ ready ──expire──▶ expired
//!    ▲                 │     │
//!    └────release──────┘     └──fail, give up──▶ failed   (pending gives up too, after a week)
//!    └───────────────────reopen (an operator)──────┘
//! ```
//!
//! Nothing is locked while bytes move. A claim sets `started_at`, which is the attempt's fencing
//! token: `release` and `fail` change the row only while it still holds that token. `ready` may be
//! set by any attempt, because the object in the vault is write-once, and leaves that attempt's
//! token in the row.
//!
//! All of them may be run twice. When a connection breaks, nobody knows whether the statement was
//! carried out; run again, it finds its own token in the state it leads to, and answers as if it had
//! not been carried out before. So no lost answer makes an attempt take its own change for another's.

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

/// The state of a request, as the column `status` spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestState {
    /// Waiting for a first attempt, or for another one.
    Pending,
    /// An attempt is, or was, at work.
    Processing,
    /// The ZIP stands in the vault.
    Ready,
    /// Failed for good.
    Failed,
    /// The ZIP was deleted after its time.
    Expired,
}

impl RequestState {
    /// Reads the column. Other text is no state of ours.
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

    /// Whether an attempt may still work on a request in this state.
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
    /// `started_at` as this claim set it: the fencing token.
    pub token: OffsetDateTime,
    /// The artist who asked.
    pub user_id: Option<i32>,
    /// The artworks asked for, in order, possibly with duplicates.
    pub post_ids: Vec<i32>,
    /// Whether `comments.json` was asked for.
    pub include_comments: bool,
    /// Whether `reactions.json` was asked for.
    pub include_reactions: bool,
    /// Whether the artist wants an e-mail.
    pub send_email: bool,
}

/// What became of an attempt to claim a request.
#[derive(Debug)]
pub enum Claimed {
    /// The request is ours until somebody claims it anew.
    Ours(Claim),
    /// The request is ours, but its row cannot be read.
    Malformed(Claim, DatabaseError),
    /// It is past being processed: `ready`, `failed`, `expired`, or a state that is not ours.
    Closed(Option<RequestState>),
    /// There is no such row.
    NotFound,
}

/// What became of a change that depends on the row's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<T> {
    /// The row was changed.
    Done(T),
    /// Nothing was changed: the row is closed (`ready`, `failed`, `expired`) or gone.
    Closed,
    /// Nothing was changed: a newer attempt holds the row.
    Superseded,
}

/// The statements on requests.
#[derive(Clone)]
pub struct Requests {
    database: Arc<Database>,
}

/// Claims a request. An earlier attempt may still hold it (`processing`): it is dead or will find
/// its token gone. The token only ever grows, even if the server's clock is set back.
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

/// Publishes the ZIP. Expiry counts from now, by the database's clock; from the first time, when a
/// statement given up for lost arrives after it was run again.
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

/// Gives the request back for a later attempt. `started_at` stays, so that its age is known.
const RELEASE: &str = "
    UPDATE batch_download_requests AS r
       SET status = 'pending'
     WHERE r.id = $1 AND r.status IN ('processing', 'pending') AND r.started_at = $2
 RETURNING r.id";

/// Ends the request for good.
const FAIL: &str = "
    UPDATE batch_download_requests AS r
       SET status = 'failed', error_message = $3, completed_at = now()
     WHERE r.id = $1 AND r.status IN ('processing', 'failed') AND r.started_at = $2
 RETURNING r.id";

impl Requests {
    /// The requests of this database.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Sees to a living connection, where an invocation has no first statement of its own.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin(&self) -> Result<(), DatabaseError> {
        self.database
            .execute_idempotent(|client| async move { client.check_connection().await })
            .await
    }

    /// Claims `bdr_id`. This is the first statement of an invocation.
    ///
    /// # Errors
    /// When the database does not answer, or the row is malformed.
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
        Ok(match read(&row, &mut claim) {
            Ok(()) => Claimed::Ours(claim),
            Err(error) => Claimed::Malformed(claim, error),
        })
    }

    /// Marks the request `ready` with its ZIP. `Done` holds `expires_at`, and is seen by one
    /// attempt only: the one that tells the artist.
    ///
    /// # Errors
    /// When the database does not answer.
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

    /// Gives the request back to `pending`, if this attempt still holds it.
    ///
    /// # Errors
    /// When the database does not answer.
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

    /// Marks the request `failed`, if this attempt still holds it.
    ///
    /// # Errors
    /// When the database does not answer.
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

    /// Why an UPDATE changed no row.
    async fn unchanged<T>(&self, bdr_id: Uuid) -> Result<Change<T>, DatabaseError> {
        let status = self.status(bdr_id).await?;
        let open = status
            .and_then(|status| RequestState::parse(&status))
            .is_some_and(RequestState::is_open);
        Ok(if open { Change::Superseded } else { Change::Closed })
    }
}

/// Reads what a claimed row asks for; first whom to tell if the rest is malformed.
fn read(row: &Row, claim: &mut Claim) -> Result<(), DatabaseError> {
    let flag = |name| Ok(column::<Option<bool>>(row, name)?.unwrap_or(false));
    claim.user_id = column(row, "user_id")?;
    claim.send_email = flag("send_email")?;
    let post_ids: Option<Vec<Option<i32>>> = column(row, "post_ids")?;
    claim.post_ids = post_ids.unwrap_or_default().into_iter().flatten().collect();
    claim.include_comments = flag("include_comments")?;
    claim.include_reactions = flag("include_reactions")?;
    Ok(())
}
