//! What the API does before a worker starts: rows, artworks in the vault, a message in the queue.
//!
//! The database assigns the identifiers, so that any number of scenarios share one database.

use anyhow::{Context as _, Result};
use aws_sdk_s3::primitives::ByteStream;
use serde::Serialize;
use serde_json::json;
use time::{OffsetDateTime, serde::rfc3339};
use tokio_postgres::{Client, types::FromSqlOwned};
use uuid::Uuid;

/// A row of `users`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct User {
    /// The name that the site shows; unique.
    pub handle: String,
    /// Recipient of e-mails.
    pub email: String,
    /// The public id, if the API has stored one; unique.
    pub public_sqid: Option<String>,
}

impl User {
    /// Inserts the row, and returns its id.
    ///
    /// # Errors
    /// When the database rejects it.
    pub async fn insert(&self, database: &Client) -> Result<i32> {
        insert(database, "users", self).await
    }
}

/// A row of `posts`.
#[derive(Debug, Clone, Serialize)]
pub struct Post {
    /// The artist.
    pub owner_id: i32,
    /// The public id, if the API has stored one; unique.
    pub public_sqid: Option<String>,
    /// The artwork's title.
    pub title: String,
    /// The artist's description.
    pub description: Option<String>,
    /// Tags without the leading `#`.
    pub hashtags: Vec<String>,
    /// `/vault/…`, or an `http(s)` URL.
    pub art_url: Option<String>,
    /// File extension, such as `png`.
    pub file_format: Option<String>,
    /// Width in pixels.
    pub width: i32,
    /// Height in pixels.
    pub height: i32,
    /// Number of frames; 1 for a still image.
    pub frame_count: i32,
    /// Time of the post.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
}

impl Post {
    /// Inserts the row, and returns its id.
    ///
    /// # Errors
    /// When the database rejects it.
    pub async fn insert(&self, database: &Client) -> Result<i32> {
        insert(database, "posts", self).await
    }
}

/// A row of `comments`.
#[derive(Debug, Clone, Serialize)]
pub struct Comment {
    /// The post commented on.
    pub post_id: i32,
    /// The author; `None` for a visitor without an account.
    pub author_id: Option<i32>,
    /// The text.
    pub body: String,
    /// Whether a moderator has hidden it.
    pub hidden_by_mod: bool,
    /// Whether its author has deleted it.
    pub deleted_by_owner: bool,
    /// Time of the comment.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
}

impl Comment {
    /// Inserts the row, and returns its id.
    ///
    /// # Errors
    /// When the database rejects it.
    pub async fn insert(&self, database: &Client) -> Result<Uuid> {
        insert(database, "comments", self).await
    }
}

/// A row of `batch_download_requests`, as the API inserts it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Request {
    /// The artist.
    pub user_id: i32,
    /// The posts, in the order of the archive.
    pub post_ids: Vec<i32>,
    /// Whether to write `comments.json`.
    pub include_comments: bool,
    /// Whether to write `reactions.json`.
    pub include_reactions: bool,
    /// Whether to send an e-mail.
    pub send_email: bool,
}

impl Request {
    /// Inserts the row, and returns its id.
    ///
    /// # Errors
    /// When the database rejects it.
    pub async fn insert(&self, database: &Client) -> Result<Uuid> {
        let mut row = serde_json::to_value(self)?;
        row["artwork_count"] = self.post_ids.len().into();
        insert(database, "batch_download_requests", &row).await
    }
}

/// Inserts a row, of which `row` gives some columns by name, and returns its id.
async fn insert<Id: FromSqlOwned>(
    database: &Client,
    table: &str,
    row: &impl Serialize,
) -> Result<Id> {
    let row = serde_json::to_value(row)?;
    let columns = row.as_object().into_iter().flat_map(|columns| columns.keys());
    let columns = columns.map(String::as_str).collect::<Vec<_>>().join(", ");
    let statement = format!(
        "INSERT INTO {table} ({columns})
         SELECT {columns} FROM json_populate_record(NULL::{table}, $1::text::json) RETURNING id"
    );
    let inserted = database.query_one(&statement, &[&row.to_string()]).await;
    Ok(inserted.with_context(|| format!("failed to insert into {table}"))?.get(0))
}

/// Inserts `count` reactions of visitors to a post.
///
/// # Errors
/// When the database rejects them.
pub async fn react(database: &Client, post_id: i32, emoji: &str, count: i32) -> Result<()> {
    let statement =
        "INSERT INTO reactions (post_id, emoji) SELECT $1, $2 FROM generate_series(1, $3)";
    let inserted = database.execute(statement, &[&post_id, &emoji, &count]).await;
    inserted.map(drop).context("failed to insert reactions")
}

/// Puts an object into the vault, under the key that follows `/vault/` in a post's `art_url`.
///
/// # Errors
/// When S3 rejects it.
pub async fn put_artwork(
    s3: &aws_sdk_s3::Client,
    bucket: &str,
    key: &str,
    bytes: Vec<u8>,
) -> Result<()> {
    let put = s3.put_object().bucket(bucket).key(key).body(ByteStream::from(bytes)).send().await;
    put.map(drop).with_context(|| format!("failed to put {key} into the vault"))
}

/// Returns the body of the message for a request.
#[must_use]
pub fn message(bdr_id: Uuid) -> String {
    json!({ "bdr_id": bdr_id }).to_string()
}

/// Publishes a request. Its row must be committed.
///
/// # Errors
/// When SQS rejects it.
pub async fn publish(sqs: &aws_sdk_sqs::Client, queue_url: &str, bdr_id: Uuid) -> Result<()> {
    let send = sqs.send_message().queue_url(queue_url).message_body(message(bdr_id));
    send.send().await.map(drop).with_context(|| format!("failed to publish request {bdr_id}"))
}
