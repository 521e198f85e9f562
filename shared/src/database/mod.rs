//! The connection to PostgreSQL: one a function instance, checked once an invocation.
//!
//! Lambda freezes an instance between invocations and may thaw it hours later, when the socket has
//! long been dropped by something in between without a word; a long job leaves it silent for
//! minutes. So a statement after such a pause runs through [`Database::execute_idempotent`], and reads run
//! through [`Database::read`]: both open a new connection once when the old one turns out dead.
//! Statements are unnamed (`query_typed`) and none is a `SET`: either would pin the session of an
//! RDS Proxy, which therefore needs no code of its own here.

mod secret;
mod server;
mod source;
mod tls;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};

pub use secret::SecretReader;
pub use source::DatabaseSource;
use source::SecretRead;

use crate::failure::Failure;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Longest wait for a connection, TLS and authentication included.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Longest wait for a statement. All of them are single-row updates or reads by index.
const STATEMENT_LIMIT: Duration = Duration::from_secs(20);
/// Longest wait for the first statement on a connection that may have died in a pause.
const THAW_LIMIT: Duration = Duration::from_secs(3);

/// The database of the requests.
pub struct Database {
    source: DatabaseSource,
    secrets: Option<SecretReader>,
    connection: Mutex<Option<Arc<Client>>>,
}

/// Why a statement did not yield what it should.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// No connection could be opened.
    #[error("cannot connect to the database")]
    Connect(#[source] BoxError),
    /// The server did not answer in time.
    #[error("the database did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The connection broke or the server refused the statement.
    #[error("the database refused a statement or the connection broke")]
    Statement(#[source] tokio_postgres::Error),
    /// A row holds a value of another type than the contract says, or a null where there is none.
    #[error("a row is malformed")]
    Malformed(#[source] tokio_postgres::Error),
}

impl DatabaseError {
    /// Whether the connection itself is of no further use.
    fn is_broken_connection(&self) -> bool {
        match self {
            Self::Connect(_) | Self::TimedOut(_) => true,
            Self::Malformed(_) => false,
            Self::Statement(error) => error.code().is_none_or(|code| {
                [
                    SqlState::ADMIN_SHUTDOWN,
                    SqlState::CRASH_SHUTDOWN,
                    SqlState::CANNOT_CONNECT_NOW,
                    SqlState::IDLE_SESSION_TIMEOUT,
                    SqlState::READ_ONLY_SQL_TRANSACTION, // a demoted primary after a failover
                ]
                .contains(code)
            }),
        }
    }

    /// The decision: a malformed row never gets better, everything else may.
    #[must_use]
    pub fn context(self, context: &'static str) -> Failure {
        match self {
            Self::Malformed(_) => Failure::permanent_fault(context, self),
            _ => Failure::retry(context, self),
        }
    }
}

impl Database {
    /// A database that is connected to when it is first needed. `secrets` is needed only where the
    /// source is a secret.
    #[must_use]
    pub fn new(source: DatabaseSource, secrets: Option<SecretReader>) -> Self {
        Self { source, secrets, connection: Mutex::new(None) }
    }

    /// The connection, opened if there is none.
    ///
    /// # Errors
    /// When none can be opened.
    pub async fn connection(&self) -> Result<Arc<Client>, DatabaseError> {
        let mut slot = self.connection.lock().await;
        if let Some(client) = slot.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(Box::pin(self.connect()).await?);
        *slot = Some(Arc::clone(&client));
        Ok(client)
    }

    /// A connection for the caller alone, who may hold a transaction on it. The functions hold none.
    ///
    /// # Errors
    /// When none can be opened.
    pub async fn connection_apart(&self) -> Result<Client, DatabaseError> {
        Box::pin(self.connect()).await
    }

    /// Runs the first statement after a pause; on a connection that turns out dead, once more on a
    /// new one. The statement must bear being run twice.
    ///
    /// # Errors
    /// As the statement's, or when no connection can be opened.
    pub async fn execute_idempotent<T, F>(
        &self,
        statement: impl Fn(Arc<Client>) -> F,
    ) -> Result<T, DatabaseError>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        self.retry_once(THAW_LIMIT, statement).await
    }

    /// Runs reads; on a connection that breaks meanwhile, once more on a new one, which spares the
    /// request another attempt.
    ///
    /// # Errors
    /// As the reads', or when no connection can be opened.
    pub async fn read<T, F>(&self, reads: impl Fn(Arc<Client>) -> F) -> Result<T, DatabaseError>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        self.retry_once(STATEMENT_LIMIT, reads).await
    }

    async fn retry_once<T, F>(
        &self,
        first_limit: Duration,
        statement: impl Fn(Arc<Client>) -> F,
    ) -> Result<T, DatabaseError>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        let kept = self.connection.lock().await.clone();
        if let Some(client) = kept.filter(|client| !client.is_closed()) {
            match within(first_limit, statement(client)).await {
                Err(error) if error.is_broken_connection() => {
                    tracing::info!("the connection has died; opening a new one");
                }
                result => return result,
            }
        }
        *self.connection.lock().await = None;
        let client = self.connection().await?;
        within(STATEMENT_LIMIT, statement(client)).await
    }

    /// Connects; when the server refuses the password of a secret, which may just be rotating,
    /// reads the secret again and connects once more.
    async fn connect(&self) -> Result<Client, DatabaseError> {
        let opening = async {
            match self.open(SecretRead::First).await {
                Err(error) if self.source.may_change() && is_rejected_login(&error) => {
                    tracing::info!("the database refused the password; reading the secret again");
                    self.open(SecretRead::AfterRejection).await
                }
                result => result,
            }
        };
        timeout(CONNECT_LIMIT, opening)
            .await
            .map_err(|_| DatabaseError::TimedOut(CONNECT_LIMIT))?
            .map_err(DatabaseError::Connect)
    }

    async fn open(&self, secret_read: SecretRead) -> Result<Client, BoxError> {
        let server = self.source.server(self.secrets.as_ref(), secret_read).await?;
        let (client, connection) = server.config.connect(server.connector()?).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "the database connection ended");
            }
        });
        Ok(client)
    }
}

/// Whether the server was reached and did not accept the name and the password.
fn is_rejected_login(error: &BoxError) -> bool {
    let code = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code);
    code.is_some_and(|code| {
        [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(code)
    })
}

/// Runs a statement with a client-side time limit.
///
/// # Errors
/// As the statement's, or when it does not end in time.
pub async fn limited<T>(
    statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, DatabaseError> {
    within(STATEMENT_LIMIT, statement).await
}

async fn within<T>(
    limit: Duration,
    statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, DatabaseError> {
    timeout(limit, statement)
        .await
        .map_err(|_| DatabaseError::TimedOut(limit))?
        .map_err(DatabaseError::Statement)
}

/// A column of a row, by name; its absence or another type makes the row malformed.
///
/// # Errors
/// When the column is not there, or not a `T`.
pub fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    name: &str,
) -> Result<T, DatabaseError> {
    row.try_get(name).map_err(DatabaseError::Malformed)
}
