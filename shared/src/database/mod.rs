//! The connection to PostgreSQL: one per function instance.
//!
//! The connection can break without notice: Lambda freezes an instance between invocations, for
//! hours, and a long job leaves the connection idle for minutes. Meanwhile a network device may
//! drop it. So statements that may follow such a pause run through
//! [`Database::execute_idempotent`], and reads run through [`Database::read`]. Both reconnect and
//! retry once if the connection is broken.
//!
//! Statements are unnamed (`query_typed`) and there is no `SET`: named statements and `SET` would
//! pin the session of an RDS Proxy. So the proxy needs no code here.

mod adapter;
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

pub use adapter::{Adapter, SPECIFICATION};
pub use secret::SecretReader;
pub use source::DatabaseSource;
use source::SecretRead;

use crate::failure::Failure;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Time limit for a connection, TLS and authentication included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit for a statement, and for each row of streamed comments. All statements use an index, and
/// those of the cleanup touch at most a page of rows.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(20);
/// Time limit for the first statement on a connection that a pause may have broken.
const AFTER_PAUSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The database of the requests.
pub struct Database {
    source: DatabaseSource,
    secrets: Option<SecretReader>,
    connection: Mutex<Option<Arc<Client>>>,
}

/// An error of a connection, a statement or a row.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The connection failed to open.
    #[error("failed to connect to the database")]
    Connect(#[source] BoxError),
    /// The server did not respond in time.
    #[error("the database did not respond within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The server rejected the statement, or the connection broke.
    #[error("the database rejected the statement, or the connection broke")]
    Statement(#[source] tokio_postgres::Error),
    /// The statement does not fit the site's tables, or the privileges on them.
    #[error("{cause}; to correct it, {remedy}")]
    Schema {
        /// The server's message, which names the column or the table.
        cause: String,
        /// The adapter to apply.
        remedy: String,
        /// The error that the server returned.
        error: tokio_postgres::Error,
    },
    /// A row holds a value of another type than the contract specifies, or an unexpected null.
    #[error("the row is malformed: the column {column} has an unexpected value")]
    Malformed {
        /// The column.
        column: String,
        /// What is wrong with its value.
        #[source]
        problem: BoxError,
    },
    /// Other attempts changed the row between each read of it and the statement that depends on
    /// the read.
    #[error("other attempts keep changing the row")]
    Contended,
    /// The server executed the statement after the deadline in its `WHERE`, so it had no effect.
    #[error("the statement reached the database after its deadline")]
    TooLate,
}

impl DatabaseError {
    /// Creates the error of a row with an unexpected value in `column`.
    pub fn malformed(column: impl Into<String>, problem: impl Into<BoxError>) -> Self {
        Self::Malformed { column: column.into(), problem: problem.into() }
    }

    /// Returns whether the connection must be replaced.
    fn is_broken_connection(&self) -> bool {
        match self {
            Self::Connect(_) | Self::TimedOut(_) => true,
            Self::Schema { .. } | Self::Malformed { .. } | Self::Contended | Self::TooLate => false,
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

    /// Returns whether the same statement may succeed a moment later: the connection broke, or the
    /// server is out of resources, shuts down, starts, or rolled the statement back (SQLSTATE
    /// classes 08, 40, 53, 55, 57 and 58).
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.is_broken_connection()
            || matches!(self, Self::Statement(error) if error.code().is_some_and(|code| {
                let class = code.code().get(..2);
                class.is_some_and(|class| ["08", "40", "53", "55", "57", "58"].contains(&class))
            }))
    }

    /// Returns the error as the server returned it.
    pub(crate) fn unexplained(self) -> Self {
        match self {
            Self::Schema { error, .. } => Self::Statement(error),
            other => other,
        }
    }

    /// Returns whether the role lacks a privilege.
    pub(crate) fn is_denied(&self) -> bool {
        let (Self::Statement(error) | Self::Schema { error, .. }) = self else { return false };
        error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
    }

    /// Converts the error to a failure: permanent for a malformed row, else to be retried.
    /// `context` says what failed.
    #[must_use]
    pub fn context(self, context: &'static str) -> Failure {
        match self {
            Self::Malformed { .. } => Failure::permanent_fault(context, self),
            _ => Failure::retry(context, self),
        }
    }
}

impl Database {
    /// Creates a database that connects at its first use. `secrets` is required only if the source
    /// is a secret.
    #[must_use]
    pub fn new(source: DatabaseSource, secrets: Option<SecretReader>) -> Self {
        Self { source, secrets, connection: Mutex::new(None) }
    }

    /// Returns the connection, and opens it if there is none.
    ///
    /// # Errors
    /// When the connection fails to open.
    pub async fn connection(&self) -> Result<Arc<Client>, DatabaseError> {
        let mut slot = self.connection.lock().await;
        if let Some(client) = slot.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(Box::pin(self.connect()).await?);
        *slot = Some(Arc::clone(&client));
        Ok(client)
    }

    /// Opens a connection for the exclusive use of the caller, who may hold a transaction on it.
    /// The functions hold no transaction.
    ///
    /// # Errors
    /// When the connection fails to open.
    pub async fn dedicated_connection(&self) -> Result<Client, DatabaseError> {
        Box::pin(self.connect()).await
    }

    /// Runs a statement that may follow a pause. If the connection is broken or does not respond
    /// within 3 s, reconnects and retries once; the statement must be idempotent.
    ///
    /// # Errors
    /// When the statement fails, or the connection fails to open.
    pub async fn execute_idempotent<T, F>(
        &self,
        statement: impl Fn(Arc<Client>) -> F,
    ) -> Result<T, DatabaseError>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        self.retry_once(AFTER_PAUSE_TIMEOUT, statement).await
    }

    /// Runs reads. If the connection breaks meanwhile, reconnects and retries once, which saves
    /// another attempt at the request.
    ///
    /// # Errors
    /// When a read fails, or the connection fails to open.
    pub async fn read<T, F>(&self, reads: impl Fn(Arc<Client>) -> F) -> Result<T, DatabaseError>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        self.retry_once(STATEMENT_TIMEOUT, reads).await
    }

    async fn retry_once<T, F>(
        &self,
        first_timeout: Duration,
        statement: impl Fn(Arc<Client>) -> F,
    ) -> Result<T, DatabaseError>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        let kept = self.connection.lock().await.clone();
        if let Some(client) = kept.filter(|client| !client.is_closed()) {
            match within(first_timeout, statement(Arc::clone(&client))).await {
                Err(error) if error.is_broken_connection() => {
                    tracing::info!("the database connection is broken; reconnecting");
                }
                Err(error) => return Err(explained(error, &client).await),
                result => return result,
            }
        }
        *self.connection.lock().await = None;
        let client = self.connection().await?;
        match within(STATEMENT_TIMEOUT, statement(Arc::clone(&client))).await {
            Err(error) => Err(explained(error, &client).await),
            result => result,
        }
    }

    /// Connects. If the server rejects the password of a secret, which may be rotating, reads the
    /// secret again and retries once.
    async fn connect(&self) -> Result<Client, DatabaseError> {
        let opening = async {
            match self.open(SecretRead::First).await {
                Err(error) if self.source.can_rotate() && is_rejected_login(&error) => {
                    tracing::info!("the database rejected the password; reading the secret again");
                    self.open(SecretRead::AfterRejection).await
                }
                result => result,
            }
        };
        timeout(CONNECT_TIMEOUT, opening)
            .await
            .map_err(|_| DatabaseError::TimedOut(CONNECT_TIMEOUT))?
            .map_err(DatabaseError::Connect)
    }

    async fn open(&self, secret_read: SecretRead) -> Result<Client, BoxError> {
        let server = self.source.server(self.secrets.as_ref(), secret_read).await?;
        let (client, connection) = server.config.connect(server.connector()?).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "the database connection ended with an error");
            }
        });
        Ok(client)
    }
}

/// Adds the adapter to apply, if a statement does not fit the site's tables. A later attempt may
/// succeed: an operator applies the adapter.
async fn explained(error: DatabaseError, client: &Client) -> DatabaseError {
    let DatabaseError::Statement(error) = error else { return error };
    let is_misfit = error.code().is_some_and(|code| {
        [
            SqlState::UNDEFINED_COLUMN,
            SqlState::UNDEFINED_TABLE,
            SqlState::UNDEFINED_FUNCTION, // an operator for the types of two columns
            SqlState::DATATYPE_MISMATCH,
            SqlState::CANNOT_COERCE,
            SqlState::INVALID_FUNCTION_DEFINITION, // an inlined view, of other columns
            SqlState::INSUFFICIENT_PRIVILEGE,
        ]
        .contains(code)
    });
    if !is_misfit {
        return DatabaseError::Statement(error);
    }
    match Adapter::find(client).await {
        Ok(adapter) => {
            let cause = error.as_db_error().map(|error| error.message().to_owned());
            let cause = cause.unwrap_or_else(|| error.to_string());
            DatabaseError::Schema { cause, remedy: adapter.remedy(), error }
        }
        Err(_) => DatabaseError::Statement(error),
    }
}

/// Returns whether the server rejected the user name or the password.
fn is_rejected_login(error: &BoxError) -> bool {
    let code = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code);
    code.is_some_and(|code| {
        [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(code)
    })
}

/// Runs a statement with a client-side time limit of 20 s.
///
/// # Errors
/// When the statement fails or does not end in time.
pub async fn limited<T>(
    statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, DatabaseError> {
    within(STATEMENT_TIMEOUT, statement).await
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

/// Reads a column of a row by name.
///
/// # Errors
/// When the column is missing or not a `T`: the row is malformed. The error names the column, which
/// that of the driver gives as a number.
pub fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    name: &str,
) -> Result<T, DatabaseError> {
    row.try_get(name).map_err(|error| DatabaseError::malformed(name, error))
}
