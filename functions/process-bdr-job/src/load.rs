//! Loads what a request asks for: artist, posts, comments and reactions, in one round trip. The
//! queries do not depend on one another and are pipelined on one connection.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::OptionFuture;
use shared::database::{Database, DatabaseError, column};
use shared::failure::Failure;
use shared::request::Claim;
use shared::sqid::{Sqid, SqidSource};
use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

/// The artist who made the request.
pub struct Artist {
    /// `users.handle`. Untrusted.
    pub handle: String,
    /// `users.email`. Never logged.
    pub email: Option<String>,
    /// Public id, used in the archive's key and in links.
    pub sqid: Sqid,
}

/// The artist as far as an e-mail needs them, for e-mails about a malformed row as well.
pub(crate) struct Recipient {
    /// `users.handle`. Untrusted.
    pub(crate) handle: String,
    /// `users.email`. Never logged.
    pub(crate) email: Option<String>,
    /// Public id, used in links.
    pub(crate) sqid: Option<Sqid>,
}

/// A requested post that exists.
#[derive(Debug, Clone)]
pub struct Post {
    /// `posts.id`.
    pub id: i32,
    /// Public id. Without one the artwork has no file name in the archive.
    pub sqid: Option<Sqid>,
    /// `posts.title`. Untrusted.
    pub title: Option<String>,
    /// `posts.description`.
    pub description: Option<String>,
    /// `posts.hashtags` without nulls.
    pub hashtags: Vec<String>,
    /// `posts.art_url`. Untrusted.
    pub art_url: Option<String>,
    /// `posts.file_format`. Untrusted.
    pub file_format: Option<String>,
    /// `posts.width`, in pixels.
    pub width: Option<i32>,
    /// `posts.height`, in pixels.
    pub height: Option<i32>,
    /// `posts.frame_count`.
    pub frame_count: Option<i32>,
    /// `posts.created_at`.
    pub created_at: Option<OffsetDateTime>,
}

/// A visible comment.
pub struct Comment {
    /// The post that it belongs to.
    pub post_id: i32,
    /// `comments.id`.
    pub id: Uuid,
    /// The author's handle; `None` for an anonymous comment.
    pub author_handle: Option<String>,
    /// `comments.body`.
    pub body: String,
    /// `comments.created_at`.
    pub created_at: Option<OffsetDateTime>,
}

/// The number of reactions with one emoji to one post.
pub struct Reactions {
    /// The post.
    pub post_id: i32,
    /// `reactions.emoji`.
    pub emoji: String,
    /// The number of reactions.
    pub count: i64,
}

/// What the archive is made from, besides the artworks' files.
pub struct LoadedRequest {
    /// The artist.
    pub artist: Artist,
    /// Every requested post in order, without duplicates; `Err` holds the id of a post that does not
    /// exist.
    pub posts: Vec<Result<Post, i32>>,
    /// The comments, oldest first, if requested.
    pub comments: Option<Vec<Comment>>,
    /// The reactions, most frequent first, if requested.
    pub reactions: Option<Vec<Reactions>>,
}

/// Selects the artist by id.
const ARTIST: &str = "SELECT u.handle, u.email, u.public_sqid FROM users AS u WHERE u.id = $1";

/// Selects the posts by id.
const POSTS: &str = "
    SELECT p.id, p.public_sqid, p.title, p.description, p.hashtags, p.art_url, p.file_format,
           p.width, p.height, p.frame_count, p.created_at
      FROM posts AS p
     WHERE p.id = ANY ($1)";

/// Selects the visible comments with their authors' handles.
const COMMENTS: &str = "
    SELECT c.id, c.post_id, c.body, c.created_at, u.handle AS author_handle
      FROM comments AS c
      LEFT JOIN users AS u ON u.id = c.author_id
     WHERE c.post_id = ANY ($1) AND c.hidden_by_mod = false AND c.deleted_by_owner = false
     ORDER BY c.created_at, c.id";

/// Counts the reactions.
const REACTIONS: &str = "
    SELECT r.post_id, r.emoji, count(*) AS count
      FROM reactions AS r
     WHERE r.post_id = ANY ($1)
     GROUP BY r.post_id, r.emoji
     ORDER BY r.post_id, count(*) DESC, r.emoji";

/// Loads what `claim` asks for.
///
/// # Errors
/// A permanent failure when the artist or all posts are gone; a retryable one when the database does
/// not respond.
pub async fn load(
    database: &Arc<Database>,
    sqids: &SqidSource,
    claim: &Claim,
) -> Result<LoadedRequest, Failure> {
    const CONTEXT: &str = "failed to load the request's artist, posts, comments and reactions";
    let user_id = claim.user_id.ok_or_else(no_artist)?;
    let requested = &without_duplicates(&claim.post_ids);
    let (artist, posts, comments, reactions) = database
        .read(|client| async move {
            let of_artist: [(&(dyn ToSql + Sync), Type); 1] = [(&user_id, Type::INT4)];
            let of_posts: [(&(dyn ToSql + Sync), Type); 1] = [(requested, Type::INT4_ARRAY)];
            let of_posts = |sql| client.query_typed(sql, &of_posts);
            tokio::try_join!(
                client.query_typed(ARTIST, &of_artist),
                of_posts(POSTS),
                optional(claim.include_comments.then(|| of_posts(COMMENTS))),
                optional(claim.include_reactions.then(|| of_posts(REACTIONS))),
            )
        })
        .await
        .map_err(|error| error.context(CONTEXT))?;

    let artist = artist.first().ok_or_else(no_artist)?;
    let artist = Artist::read(artist, sqids, user_id)?;
    if posts.is_empty() {
        return Err(Failure::permanent(
            "no posts found",
            "None of the requested artworks exist any more.",
        ));
    }
    let posts = in_order(requested, &posts, sqids).map_err(|error| error.context(CONTEXT))?;
    Ok(LoadedRequest {
        artist,
        posts,
        comments: read_all(comments, read_comment).map_err(|error| error.context(CONTEXT))?,
        reactions: read_all(reactions, read_reactions).map_err(|error| error.context(CONTEXT))?,
    })
}

impl Artist {
    /// Reads a row of [`ARTIST`].
    ///
    /// # Errors
    /// A permanent failure when the row is malformed or yields no public id.
    fn read(row: &Row, sqids: &SqidSource, user_id: i32) -> Result<Self, Failure> {
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
    /// Looks the artist up. Returns `None` when the user does not exist.
    ///
    /// # Errors
    /// When the database does not respond, or the row is malformed.
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

/// Returns the ids in order, without duplicates.
#[must_use]
pub fn without_duplicates(ids: &[i32]) -> Vec<i32> {
    let mut seen = std::collections::HashSet::with_capacity(ids.len());
    ids.iter().copied().filter(|id| seen.insert(*id)).collect()
}

fn no_artist() -> Failure {
    Failure::permanent("user not found", "The account that requested this download was not found.")
}

async fn optional<F, E>(query: Option<F>) -> Result<Option<Vec<Row>>, E>
where
    F: Future<Output = Result<Vec<Row>, E>>,
{
    OptionFuture::from(query).await.transpose()
}

fn in_order(
    requested: &[i32],
    rows: &[Row],
    sqids: &SqidSource,
) -> Result<Vec<Result<Post, i32>>, DatabaseError> {
    let mut found = rows
        .iter()
        .map(|row| read_post(row, sqids).map(|post| (post.id, post)))
        .collect::<Result<HashMap<_, _>, _>>()?;
    Ok(requested.iter().map(|id| found.remove(id).ok_or(*id)).collect())
}

fn read_post(row: &Row, sqids: &SqidSource) -> Result<Post, DatabaseError> {
    let id = column(row, "id")?;
    let stored_sqid: Option<String> = column(row, "public_sqid")?;
    let hashtags: Option<Vec<Option<String>>> = column(row, "hashtags")?;
    Ok(Post {
        id,
        sqid: sqids.sqid(stored_sqid.as_deref(), id),
        title: column(row, "title")?,
        description: column(row, "description")?,
        hashtags: hashtags.unwrap_or_default().into_iter().flatten().collect(),
        art_url: column(row, "art_url")?,
        file_format: column(row, "file_format")?,
        width: column(row, "width")?,
        height: column(row, "height")?,
        frame_count: column(row, "frame_count")?,
        created_at: column(row, "created_at")?,
    })
}

fn read_all<T>(
    rows: Option<Vec<Row>>,
    read: impl Fn(&Row) -> Result<T, DatabaseError>,
) -> Result<Option<Vec<T>>, DatabaseError> {
    rows.map(|rows| rows.iter().map(read).collect()).transpose()
}

fn read_comment(row: &Row) -> Result<Comment, DatabaseError> {
    Ok(Comment {
        post_id: column(row, "post_id")?,
        id: column(row, "id")?,
        author_handle: column(row, "author_handle")?,
        body: column::<Option<String>>(row, "body")?.unwrap_or_default(),
        created_at: column(row, "created_at")?,
    })
}

fn read_reactions(row: &Row) -> Result<Reactions, DatabaseError> {
    Ok(Reactions {
        post_id: column(row, "post_id")?,
        emoji: column::<Option<String>>(row, "emoji")?.unwrap_or_default(),
        count: column(row, "count")?,
    })
}
