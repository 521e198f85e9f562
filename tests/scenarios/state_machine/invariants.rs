//! What must hold after every step: the reference by which the row is judged.

use anyhow::{Result, ensure};
use shared::request::RequestState;
use time::{Duration, OffsetDateTime};
use tokio_postgres::Client;
use uuid::Uuid;

use super::world::World;

/// The row as it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) status: String,
    /// `started_at`, less the time that has been taken off it: the token as it was given.
    pub(super) token: Option<OffsetDateTime>,
    pub(super) file_path: Option<String>,
    size: Option<i64>,
    message: Option<String>,
    completed_at: Option<OffsetDateTime>,
    pub(super) expires_at: Option<OffsetDateTime>,
    /// Whether `expires_at` has come, by the database's clock.
    pub(super) is_over: bool,
}

/// Who changes a row, by the statement that does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Claim,
    Ready,
    Release,
    Fail,
    Expire,
    GiveUp,
    Purge,
    Nobody,
}

/// What came before, as far as the row does not tell.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Whether the API has published the request since it was opened.
    pub(super) published: bool,
    /// How often an operator has opened the request again.
    pub(super) openings: u32,
    /// The greatest token so far.
    last_token: Option<OffsetDateTime>,
    /// When the row was made, opened again or last claimed, and when its time was over: it failed,
    /// or what it led to expired.
    touched: Duration,
    closed: Duration,
    /// The token of the attempt that has turned the row `ready`, or `failed`, since it was opened.
    pub(super) ready_by: Option<OffsetDateTime>,
    pub(super) failed_by: Option<OffsetDateTime>,
    pub(super) ready_emails: u32,
    pub(super) failure_emails: u32,
}

impl History {
    pub(super) fn reopened(&mut self, now: Duration) {
        *self = Self {
            published: true,
            openings: self.openings + 1,
            last_token: self.last_token,
            touched: now,
            ..Self::default()
        };
    }
}

impl Row {
    pub(super) async fn read(database: &Client, id: Uuid, now: Duration) -> Result<Option<Self>> {
        let sql = "SELECT status, started_at, file_path, file_size_bytes, error_message,
                          completed_at, expires_at, coalesce(expires_at < now(), false) AS is_over
                     FROM batch_download_requests
                    WHERE id = $1";
        Ok(database.query_opt(sql, &[&id]).await?.map(|row| Self {
            status: row.get("status"),
            token: row.get::<_, Option<OffsetDateTime>>("started_at").map(|at| at + now),
            file_path: row.get("file_path"),
            size: row.get("file_size_bytes"),
            message: row.get("error_message"),
            completed_at: row.get("completed_at"),
            expires_at: row.get("expires_at"),
            is_over: row.get("is_over"),
        }))
    }

    pub(super) fn status(&self) -> RequestState {
        RequestState::parse(&self.status).expect("a state of ours")
    }

    pub(super) fn is_open(&self) -> bool {
        self.status().is_open()
    }

    fn without_end(&self) -> Self {
        Self { completed_at: None, ..self.clone() }
    }
}

/// The edges of the diagram, by the statements they belong to; `None` is a row that is gone.
fn is_edge(by: By, from: RequestState, to: Option<RequestState>) -> bool {
    use RequestState::{Expired, Failed, Pending, Processing, Ready};
    matches!(
        (by, from, to),
        (By::Claim, Pending | Processing, Some(Processing))
            | (By::Ready, Pending | Processing, Some(Ready))
            | (By::Release, Processing, Some(Pending))
            | (By::Fail, Processing, Some(Failed))
            | (By::Expire, Ready, Some(Expired))
            | (By::GiveUp, Pending | Processing, Some(Failed))
            | (By::Purge, Expired | Failed, None)
    )
}

impl World<'_> {
    /// Judges what a statement has made of the row. `token` is that of the attempt whose it is.
    pub(super) fn judge(
        &mut self,
        by: By,
        token: Option<OffsetDateTime>,
        before: Option<&Row>,
        after: Option<&Row>,
    ) -> Result<()> {
        let Some(before) = before else {
            ensure!(after.is_none(), "1: {by:?} made a row: {after:?}");
            return Ok(());
        };
        let (from, to) = (before.status(), after.map(Row::status));
        let claimed = by == By::Claim && after.is_some_and(|row| row.token != before.token);
        if to == Some(from) && !claimed {
            // An attempt that fails a row once more says when; nothing else changes.
            let again = by == By::Fail && token.is_some() && token == self.history.failed_by;
            let same = if again {
                after.map(Row::without_end) == Some(before.without_end())
            } else {
                after == Some(before)
            };
            ensure!(same, "1: {by:?} changed {before:?} to {after:?}");
            return Ok(());
        }
        ensure!(is_edge(by, from, to), "1: {by:?} made {from:?} {to:?}");
        match by {
            By::Claim => {
                let new = after.and_then(|row| row.token);
                ensure!(new > self.history.last_token, "2: {new:?} after {:?}", self.history);
                (self.history.last_token, self.history.touched) = (new, self.now);
            }
            By::Ready => {
                ensure!(self.history.ready_by.is_none(), "3: ready twice");
                self.history.ready_by = token;
                self.history.closed = self.now + Duration::days(7);
            }
            By::Release | By::Fail => {
                ensure!(before.token == token, "4: {by:?} with {token:?} of {before:?}");
                if by == By::Fail {
                    self.history.failed_by = token;
                }
            }
            By::Expire => ensure!(before.is_over, "1: expired before its time: {before:?}"),
            By::GiveUp => {
                let limit = if from == RequestState::Pending {
                    Duration::days(7)
                } else {
                    Duration::hours(6)
                };
                let age = self.now - self.history.touched;
                ensure!(age >= limit, "1: given up after {age}: {before:?}");
            }
            By::Purge => {
                let age = self.now - self.history.closed;
                ensure!(age >= super::cleanup::PURGE_AFTER, "1: purged after {age}");
            }
            By::Nobody => {}
        }
        if to == Some(RequestState::Failed) {
            self.history.closed = self.now;
        }
        Ok(())
    }

    /// What holds between any two steps.
    pub(super) async fn check(&self) -> Result<()> {
        let History { ready_emails, failure_emails, published, .. } = self.history;
        ensure!(ready_emails <= 1, "3: {ready_emails} ready e-mails");
        ensure!(failure_emails <= 1, "12: {failure_emails} failure e-mails");
        let Some(row) = self.row().await? else { return Ok(()) };
        let object = self.bucket.object;
        let columns = (&row.file_path, &row.size, &row.message, &row.completed_at, &row.expires_at);
        match (row.status(), columns) {
            (RequestState::Pending, (None, None, _, _, None))
            | (RequestState::Processing, (None, None, None, None, None))
            | (RequestState::Failed, (None, None, Some(_), Some(_), None))
            | (RequestState::Expired, (None, None, None, Some(_), Some(_))) => {}
            (RequestState::Ready, (Some(path), Some(size), None, Some(_), Some(_))) => {
                ensure!(path == self.key.as_str(), "6: file_path is {path}");
                let told = object.map(|object| i64::try_from(object.e_tag)).transpose()?;
                ensure!(row.is_over || told == Some(*size), "6: {row:?} but {object:?}");
                ensure!(row.token == self.history.ready_by, "3: it is another's: {row:?}");
            }
            _ => anyhow::bail!("11: {row:?}"),
        }
        let lost = self.queue.alive() == 0 && !self.queue.has_dead_letters();
        ensure!(!(row.is_open() && published && lost), "9: no message is left: {row:?}");
        Ok(())
    }
}
