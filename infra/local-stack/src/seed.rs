//! What the API does before a worker comes in: rows, artworks in the vault, a message in the queue.
//!
//! The identifiers are the database's, so that any number of scenarios share one database.

use anyhow::{Context as _, Result};
use aws_sdk_s3::primitives::ByteStream;
use serde_json::json;
use time::OffsetDateTime;
use tokio_postgres::Client;
use uuid::Uuid;

/// A row of `users`.
#[derive(Debug, Clone, Default)]
pub struct User {
    /// The name the site shows; unique.
    pub handle: String,
    /// Where e-mails go.
    pub email: String,
    /// The public id, where the API has stored one; unique.
    pub public_sqid: Option<String>,
}

impl User {
    /// Inserts the row, and returns its id.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn insert(&self, database: &Client) -> Result<i32> {
        let row = database
            .query_one(
                "INSERT INTO users (handle, email, public_sqid) VALUES ($1, $2, $3) RETURNING id",
                &[&self.handle, &self.email, &self.public_sqid],
            )
            .await
            .with_context(|| format!("user {} cannot be inserted", self.handle))?;
        Ok(row.get(0))
    }
}

/// A row of `posts`.
#[derive(Debug, Clone)]
pub struct Post {
    /// The artist.
    pub owner_id: i32,
    /// The public id, where the API has stored one; unique.
    pub public_sqid: Option<String>,
    /// The artwork's title.
    pub title: String,
    /// The artist's words on it.
    pub description: Option<String>,
    /// Without the leading `#`.
    pub hashtags: Vec<String>,
    /// `/vault/…`, or an `http(s)` URL.
    pub art_url: Option<String>,
    /// As in `png`.
    pub file_format: Option<String>,
    /// Pixels.
    pub width: i32,
    /// Pixels.
    pub height: i32,
    /// 1 for a still image.
    pub frame_count: i32,
    /// When it was posted.
    pub created_at: OffsetDateTime,
}

impl Post {
    /// Inserts the row, and returns its id.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn insert(&self, database: &Client) -> Result<i32> {
        let row = database
            .query_one(
                "INSERT INTO posts (owner_id, public_sqid, title, description, hashtags, art_url,
                                    file_format, width, height, frame_count, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id",
                &[
                    &self.owner_id,
                    &self.public_sqid,
                    &self.title,
                    &self.description,
                    &self.hashtags,
                    &self.art_url,
                    &self.file_format,
                    &self.width,
                    &self.height,
                    &self.frame_count,
                    &self.created_at,
                ],
            )
            .await
            .with_context(|| format!("post {:?} cannot be inserted", self.title))?;
        Ok(row.get(0))
    }
}

/// A row of `comments`.
#[derive(Debug, Clone)]
pub struct Comment {
    /// The post it is about.
    pub post_id: i32,
    /// Who wrote it; nobody when it was a visitor.
    pub author_id: Option<i32>,
    /// What was written.
    pub body: String,
    /// A moderator has hidden it.
    pub hidden_by_mod: bool,
    /// Its author has deleted it.
    pub deleted_by_owner: bool,
    /// When it was written.
    pub created_at: OffsetDateTime,
}

impl Comment {
    /// Inserts the row, and returns its id.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn insert(&self, database: &Client) -> Result<Uuid> {
        let row = database
            .query_one(
                "INSERT INTO comments (post_id, author_id, body, hidden_by_mod, deleted_by_owner,
                                       created_at)
                 VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
                &[
                    &self.post_id,
                    &self.author_id,
                    &self.body,
                    &self.hidden_by_mod,
                    &self.deleted_by_owner,
                    &self.created_at,
                ],
            )
            .await
            .context("a comment cannot be inserted")?;
        Ok(row.get(0))
    }
}

/// Inserts `count` reactions of visitors to a post.
///
/// # Errors
/// When the database refuses them.
pub async fn react(database: &Client, post_id: i32, emoji: &str, count: i32) -> Result<()> {
    database
        .execute(
            "INSERT INTO reactions (post_id, emoji) SELECT $1, $2 FROM generate_series(1, $3)",
            &[&post_id, &emoji, &count],
        )
        .await
        .context("reactions cannot be inserted")?;
    Ok(())
}

/// A row of `batch_download_requests`, as the API makes it.
#[derive(Debug, Clone, Default)]
pub struct Request {
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

impl Request {
    /// Inserts the row, and returns its id.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn insert(&self, database: &Client) -> Result<Uuid> {
        let count = i32::try_from(self.post_ids.len()).context("too many posts")?;
        let row = database
            .query_one(
                "INSERT INTO batch_download_requests (user_id, post_ids, include_comments,
                                                      include_reactions, send_email, artwork_count)
                 VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
                &[
                    &self.user_id,
                    &self.post_ids,
                    &self.include_comments,
                    &self.include_reactions,
                    &self.send_email,
                    &count,
                ],
            )
            .await
            .context("the request cannot be inserted")?;
        Ok(row.get(0))
    }
}

/// Puts an object into the vault, under the key that follows `/vault/` in a post's `art_url`.
///
/// # Errors
/// When the bucket refuses it.
pub async fn put_artwork(
    s3: &aws_sdk_s3::Client,
    bucket: &str,
    key: &str,
    bytes: Vec<u8>,
) -> Result<()> {
    s3.put_object()
        .bucket(bucket)
        .key(key)
        .body(ByteStream::from(bytes))
        .send()
        .await
        .with_context(|| format!("{key} cannot be put into the vault"))?;
    Ok(())
}

/// Publishes a request, once its row is committed.
///
/// # Errors
/// When the queue refuses it.
pub async fn publish(sqs: &aws_sdk_sqs::Client, queue_url: &str, bdr_id: Uuid) -> Result<()> {
    sqs.send_message()
        .queue_url(queue_url)
        .message_body(message(bdr_id))
        .send()
        .await
        .with_context(|| format!("request {bdr_id} cannot be published"))?;
    Ok(())
}

/// The message that stands for a request.
#[must_use]
pub fn message(bdr_id: Uuid) -> String {
    json!({ "bdr_id": bdr_id }).to_string()
}
