//! Everything the database knows about a request, in one round trip: the queries are sent together
//! on one connection (pipelined) and none depends on another.

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

use crate::artist::{ARTIST, Artist};

/// A post that was asked for and exists.
#[derive(Debug, Clone)]
pub struct Post {
    /// `posts.id`.
    pub id: i32,
    /// Public id; without one the artwork has no name in the ZIP.
    pub sqid: Option<Sqid>,
    /// `posts.title`. Hostile.
    pub title: Option<String>,
    /// `posts.description`.
    pub description: Option<String>,
    /// `posts.hashtags`, nulls left out.
    pub hashtags: Vec<String>,
    /// `posts.art_url`. Hostile.
    pub art_url: Option<String>,
    /// `posts.file_format`. Hostile.
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

/// A comment that may be shown.
pub struct Comment {
    /// The post it was made on.
    pub post_id: i32,
    /// `comments.id`.
    pub id: Uuid,
    /// The author's handle, if there is an author.
    pub author_handle: Option<String>,
    /// `comments.body`.
    pub body: String,
    /// `comments.created_at`.
    pub created_at: Option<OffsetDateTime>,
}

/// How often one emoji was given to one post.
pub struct Reactions {
    /// The post.
    pub post_id: i32,
    /// `reactions.emoji`.
    pub emoji: String,
    /// How often.
    pub count: i64,
}

/// What the ZIP is made from, besides the artworks' files.
pub struct Gathered {
    /// The artist.
    pub artist: Artist,
    /// Every post asked for, in order, without duplicates; `Err` holds the id of one that does not
    /// exist.
    pub posts: Vec<Result<Post, i32>>,
    /// The comments, oldest first, when asked for.
    pub comments: Option<Vec<Comment>>,
    /// The reactions, most frequent first, when asked for.
    pub reactions: Option<Vec<Reactions>>,
}

/// The posts, by id.
const POSTS: &str = "
    SELECT p.id, p.public_sqid, p.title, p.description, p.hashtags, p.art_url, p.file_format,
           p.width, p.height, p.frame_count, p.created_at
      FROM posts AS p
     WHERE p.id = ANY ($1)";

/// The comments that may be shown, with their authors' handles.
const COMMENTS: &str = "
    SELECT c.id, c.post_id, c.body, c.created_at, u.handle AS author_handle
      FROM comments AS c
      LEFT JOIN users AS u ON u.id = c.author_id
     WHERE c.post_id = ANY ($1) AND c.hidden_by_mod = false AND c.deleted_by_owner = false
     ORDER BY c.created_at, c.id";

/// The reactions, counted.
const REACTIONS: &str = "
    SELECT r.post_id, r.emoji, count(*) AS count
      FROM reactions AS r
     WHERE r.post_id = ANY ($1)
     GROUP BY r.post_id, r.emoji
     ORDER BY r.post_id, count(*) DESC, r.emoji";

/// Loads what `claim` asks for.
///
/// # Errors
/// For good when the artist or all posts are gone; to be retried when the database does not answer.
pub async fn gather(
    database: &Arc<Database>,
    sqids: &SqidSource,
    claim: &Claim,
) -> Result<Gathered, Failure> {
    const CONTEXT: &str = "failed to load the request's artist, posts, comments and reactions";
    let user_id = claim.user_id.ok_or_else(no_artist)?;
    let asked = &without_duplicates(&claim.post_ids);
    let (artist, posts, comments, reactions) = database
        .read(|client| async move {
            let of_artist: [(&(dyn ToSql + Sync), Type); 1] = [(&user_id, Type::INT4)];
            let of_posts: [(&(dyn ToSql + Sync), Type); 1] = [(asked, Type::INT4_ARRAY)];
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
    let posts = in_order(asked, &posts, sqids).map_err(|error| error.context(CONTEXT))?;
    Ok(Gathered {
        artist,
        posts,
        comments: read_all(comments, read_comment).map_err(|error| error.context(CONTEXT))?,
        reactions: read_all(reactions, read_reactions).map_err(|error| error.context(CONTEXT))?,
    })
}

/// The ids in order, each once.
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
    asked: &[i32],
    rows: &[Row],
    sqids: &SqidSource,
) -> Result<Vec<Result<Post, i32>>, DatabaseError> {
    let mut found = rows
        .iter()
        .map(|row| read_post(row, sqids).map(|post| (post.id, post)))
        .collect::<Result<HashMap<_, _>, _>>()?;
    Ok(asked.iter().map(|id| found.remove(id).ok_or(*id)).collect())
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
