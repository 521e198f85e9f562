//! The invariants that are checked after every step.

use anyhow::{Result, ensure};
use shared::request::RequestState;
use time::{Duration, OffsetDateTime};

use super::world::World;

/// The request's row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) status: String,
    /// `started_at` plus the time that was subtracted from it: the token as the claim set it.
    pub(super) token: Option<OffsetDateTime>,
    pub(super) file_path: Option<String>,
    size: Option<i64>,
    message: Option<String>,
    completed_at: Option<OffsetDateTime>,
    pub(super) expires_at: Option<OffsetDateTime>,
    /// Whether `expires_at` is past, by the database's clock.
    pub(super) is_over: bool,
}

/// The statement that a step has executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Statement {
    Claim,
    Ready,
    Release,
    Fail,
    Expire,
    GiveUp,
    Purge,
    Erase,
    /// None that may change the row.
    NoChange,
}

/// Earlier events that the row does not show.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Whether the API has published the request since it was opened.
    pub(super) published: bool,
    /// How often an operator has reopened the request.
    pub(super) reopenings: u32,
    /// Greatest token so far.
    last_token: Option<OffsetDateTime>,
    /// Time at which the row was inserted, reopened or last claimed.
    touched: Duration,
    /// Time at which the request failed, or at which its archive expires.
    closed: Duration,
    /// Token of the attempt that set `ready` since the request was opened.
    pub(super) ready_by: Option<OffsetDateTime>,
    /// Token of the attempt that set `failed` since the request was opened.
    pub(super) failed_by: Option<OffsetDateTime>,
    /// Whether the API has erased the request.
    pub(super) erased: bool,
    pub(super) ready_emails: u32,
    pub(super) failure_emails: u32,
}

impl History {
    pub(super) fn reopened(&mut self, now: Duration) {
        *self = Self {
            published: true,
            reopenings: self.reopenings + 1,
            last_token: self.last_token,
            touched: now,
            ..Self::default()
        };
    }
}

impl Row {
    /// The row with the id `$1`.
    pub(super) const SELECT: &str = "
        SELECT status, started_at, file_path, file_size_bytes, error_message,
               completed_at, expires_at, coalesce(expires_at < now(), false) AS is_over
          FROM batch_download_requests
         WHERE id = $1";

    /// Converts a row of [`Row::SELECT`]. `now` is the time that steps have subtracted from it.
    pub(super) fn new(row: &tokio_postgres::Row, now: Duration) -> Self {
        Self {
            status: row.get("status"),
            token: row.get::<_, Option<OffsetDateTime>>("started_at").map(|at| at + now),
            file_path: row.get("file_path"),
            size: row.get("file_size_bytes"),
            message: row.get("error_message"),
            completed_at: row.get("completed_at"),
            expires_at: row.get("expires_at"),
            is_over: row.get("is_over"),
        }
    }

    pub(super) fn status(&self) -> RequestState {
        RequestState::parse(&self.status).expect("a known state")
    }

    pub(super) fn is_open(&self) -> bool {
        self.status().is_open()
    }

    fn without_end(&self) -> Self {
        Self { completed_at: None, ..self.clone() }
    }
}

/// Returns whether the diagram has this edge for this statement. `None` is a deleted row.
fn is_edge(statement: Statement, from: RequestState, to: Option<RequestState>) -> bool {
    use RequestState::{Expired, Failed, Pending, Processing, Ready};
    matches!(
        (statement, from, to),
        (Statement::Claim, Pending | Processing, Some(Processing))
            | (Statement::Ready, Pending | Processing, Some(Ready))
            | (Statement::Release, Processing, Some(Pending))
            | (Statement::Fail, Processing, Some(Failed))
            | (Statement::Expire, Ready, Some(Expired))
            | (Statement::GiveUp, Pending | Processing, Some(Failed))
            | (Statement::Purge, Expired | Failed, None)
            | (Statement::Erase, Pending | Processing | Ready | Failed, Some(Expired))
    )
}

impl World<'_> {
    /// Checks the change that a statement made to the row. `token` is the token of its attempt.
    pub(super) fn check_change(
        &mut self,
        statement: Statement,
        token: Option<OffsetDateTime>,
        before: Option<&Row>,
        after: Option<&Row>,
    ) -> Result<()> {
        let Some(before) = before else {
            ensure!(after.is_none(), "1: {statement:?} inserted a row: {after:?}");
            return Ok(());
        };
        let (from, to) = (before.status(), after.map(Row::status));
        let claimed =
            statement == Statement::Claim && after.is_some_and(|row| row.token != before.token);
        if to == Some(from) && !claimed {
            // An attempt that repeats its failure sets `completed_at` again and nothing else.
            let again =
                statement == Statement::Fail && token.is_some() && token == self.history.failed_by;
            let same = if again {
                after.map(Row::without_end) == Some(before.without_end())
            } else {
                after == Some(before)
            };
            ensure!(same, "1: {statement:?} changed {before:?} to {after:?}");
            return Ok(());
        }
        ensure!(is_edge(statement, from, to), "1: {statement:?} changed {from:?} to {to:?}");
        match statement {
            Statement::Claim => {
                let new = after.and_then(|row| row.token);
                ensure!(new > self.history.last_token, "2: {new:?} after {:?}", self.history);
                (self.history.last_token, self.history.touched) = (new, self.now);
            }
            Statement::Ready => {
                ensure!(self.history.ready_by.is_none(), "3: ready twice");
                self.history.ready_by = token;
                self.history.closed = self.now + Duration::days(7);
            }
            Statement::Release | Statement::Fail => {
                ensure!(before.token == token, "4: {statement:?} with {token:?} of {before:?}");
                if statement == Statement::Fail {
                    self.history.failed_by = token;
                }
            }
            Statement::Expire => ensure!(before.is_over, "1: expired before its time: {before:?}"),
            Statement::GiveUp => {
                let limit = if from == RequestState::Pending {
                    Duration::days(7)
                } else {
                    Duration::hours(6)
                };
                let age = self.now - self.history.touched;
                ensure!(age >= limit, "1: given up after {age}: {before:?}");
            }
            Statement::Purge => {
                let age = self.now - self.history.closed;
                ensure!(age >= super::cleanup::PURGE_AFTER, "1: purged after {age}");
            }
            Statement::Erase => {
                self.history.erased = true;
                // `expires_at` of a `ready` row may be past.
                let end = if from == RequestState::Ready { self.history.closed } else { self.now };
                self.history.closed = end.min(self.now);
            }
            Statement::NoChange => {}
        }
        if to == Some(RequestState::Failed) {
            self.history.closed = self.now;
        }
        Ok(())
    }

    /// Checks what must hold between any two steps.
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
                let stored = object.map(|object| i64::try_from(object.e_tag)).transpose()?;
                ensure!(row.is_over || stored == Some(*size), "6: {row:?} but {object:?}");
                ensure!(row.token == self.history.ready_by, "3: ready by another: {row:?}");
            }
            _ => anyhow::bail!("11: {row:?}"),
        }
        let lost = self.queue.alive() == 0 && !self.queue.has_dead_letters();
        ensure!(!(row.is_open() && published && lost), "9: no message is left: {row:?}");
        Ok(())
    }
}
