//! The artist who asked, as the table `users` has them.

use std::sync::Arc;

use shared::database::{Database, DatabaseError, column};
use shared::failure::Failure;
use shared::sqid::{Sqid, SqidSource};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// The artist who asked.
pub struct Artist {
    /// `users.handle`. Hostile.
    pub handle: String,
    /// `users.email`. Never logged.
    pub email: Option<String>,
    /// Public id, in the ZIP's key and the link.
    pub sqid: Sqid,
}

/// The artist as far as an e-mail needs them. It may tell of the very fault in their row.
pub(crate) struct Recipient {
    /// `users.handle`. Hostile.
    pub(crate) handle: String,
    /// `users.email`. Never logged.
    pub(crate) email: Option<String>,
    /// Public id, in the link.
    pub(crate) sqid: Option<Sqid>,
}

/// The artist, by id.
pub(crate) const ARTIST: &str =
    "SELECT u.handle, u.email, u.public_sqid FROM users AS u WHERE u.id = $1";

impl Artist {
    /// Reads a row of [`ARTIST`].
    ///
    /// # Errors
    /// For good, when it is malformed or yields no public id.
    pub(crate) fn read(row: &Row, sqids: &SqidSource, user_id: i32) -> Result<Self, Failure> {
        let Recipient { handle, email, sqid } = Recipient::read(row, sqids, user_id)
            .map_err(|error| error.context("failed to read the artist's row"))?;
        let sqid = sqid.ok_or_else(|| {
            Failure::permanent_fault(
                "the artist has no usable public id",
                "users.public_sqid is empty or unsafe in a key, and SQIDS_ALPHABET gives none",
            )
        })?;
        Ok(Self { handle, email, sqid })
    }
}

impl Recipient {
    /// Looks the artist up; `None` when there is no such user.
    ///
    /// # Errors
    /// When the database does not answer, or the row is malformed.
    pub(crate) async fn find(
        database: &Arc<Database>,
        sqids: &SqidSource,
        user_id: i32,
    ) -> Result<Option<Self>, DatabaseError> {
        let row = database
            .read(|client| async move {
                client.query_typed_opt(ARTIST, &[(&user_id, Type::INT4)]).await
            })
            .await?;
        row.map(|row| Self::read(&row, sqids, user_id)).transpose()
    }

    fn read(row: &Row, sqids: &SqidSource, user_id: i32) -> Result<Self, DatabaseError> {
        let stored_sqid: Option<String> = column(row, "public_sqid")?;
        Ok(Self {
            handle: column::<Option<String>>(row, "handle")?.unwrap_or_default(),
            email: column(row, "email")?,
            sqid: sqids.sqid(stored_sqid.as_deref(), user_id),
        })
    }
}
