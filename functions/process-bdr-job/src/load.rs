//! Loads what a request asks for: artist, posts and reactions, in one round trip. The queries do not
//! depend on one another and are pipelined on one connection. Rows are dropped when decoded. The
//! comments, of which there may be a million, are streamed when `comments.json` is written. The posts of a
//! request that becomes a large export, and the reactions to them, are read in pages.
//!
//! One odd value costs one artwork at most. The queries cast what they select to built-in types with
//! casts that fail for no value, because an error would fail the whole statement. For a custom type
//! (citext, an enum, a domain) the driver would look the type up on the connection whose rows it does
//! not read meanwhile, and hang.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::OptionFuture;
use futures_util::stream::{self, Stream, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::database::{Database, DatabaseError, column, limited};
use shared::failure::{Failure, chain};
use shared::request::Claim;
use shared::sqid::{Sqid, SqidSource};
use time::OffsetDateTime;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::missing::{Missing, MissingCode};

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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Post {
    /// `posts.id`.
    pub id: i64,
    /// Public id. Without one the artwork has no file name in the archive.
    pub sqid: Option<Sqid>,
    /// `posts.title`. Untrusted.
    pub title: Option<String>,
    /// `posts.description`.
    pub description: Option<String>,
    /// `posts.hashtags`, flattened and without nulls.
    pub hashtags: Vec<String>,
    /// `posts.mod_hashtags`, the moderators' tags; `None` where the site has no such column.
    pub mod_hashtags: Option<Vec<String>>,
    /// `posts.license`; `None` where the site has no such column. Untrusted.
    pub license: Option<String>,
    /// `posts.source_url`, the artwork's page; `None` where the site has no such column. Untrusted.
    pub source_url: Option<String>,
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
    /// `posts.created_at`; `None` for a time that RFC 3339 cannot represent.
    #[serde(with = "time::serde::rfc3339::option")]
    pub created_at: Option<OffsetDateTime>,
}

/// A requested post that yields no artwork.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MissingPost {
    /// `posts.id`.
    pub id: i64,
    /// The reason.
    pub missing: Missing,
}

/// A visible comment.
pub struct Comment {
    /// The post that it belongs to.
    pub post_id: i64,
    /// `comments.id` as text.
    pub id: String,
    /// The author's handle; `None` for an anonymous comment.
    pub author_handle: Option<String>,
    /// `comments.body`.
    pub body: String,
    /// `comments.created_at`; `None` for a time that RFC 3339 cannot represent.
    pub created_at: Option<OffsetDateTime>,
}

/// The number of reactions with one emoji to one post.
#[derive(Clone)]
pub struct Reactions {
    /// The post.
    pub post_id: i64,
    /// `reactions.emoji`.
    pub emoji: String,
    /// The number of reactions.
    pub count: i64,
}

/// The comments on the posts, in the database.
pub struct Comments {
    database: Arc<Database>,
}

/// The reactions to the posts.
pub enum ReactionSource {
    /// Those to all posts, most frequent first.
    Loaded(Vec<Reactions>),
    /// They are in the database.
    Stored(Arc<Database>),
}

/// What the archive is made from, besides the artworks' files.
pub struct LoadedRequest {
    /// The artist.
    pub artist: Artist,
    /// The ids of the requested posts in order, without duplicates.
    pub post_ids: Vec<i64>,
    /// These posts in order: all, or the first ones.
    pub posts: Vec<Result<Post, MissingPost>>,
    /// The comments, if requested.
    pub comments: Option<Comments>,
    /// The reactions, if requested.
    pub reactions: Option<ReactionSource>,
}

// The statements about many rows are public so that a test can check their plans.

/// Selects the artist by id.
const ARTIST: &str = "
    SELECT u.handle::text, u.email::text, u.public_sqid::text FROM users AS u WHERE u.id = $1";

/// Selects the posts by id. RFC 3339 represents the times from year 1 to 9999.
macro_rules! posts_with {
    ($mod_hashtags:literal, $license:literal, $source_url:literal) => {
        concat!(
            "
    SELECT post.*
      FROM (SELECT NULL::text[] AS mod_hashtags, NULL AS license, NULL AS source_url) AS absent
     CROSS JOIN LATERAL (
        SELECT p.id::bigint, p.public_sqid::text, p.title::text, p.description::text,
               to_json(p.hashtags)::text AS hashtags, ",
            $mod_hashtags,
            " AS mod_hashtags, ",
            $license,
            " AS license, ",
            $source_url,
            " AS source_url,
               p.art_url::text, p.file_format::text,
               p.width::text, p.height::text, p.frame_count::text,
               CASE WHEN p.created_at BETWEEN timestamptz '0001-01-01 00:00:00+00'
                                          AND timestamptz '9999-12-31 23:59:59.999999+00'
                    THEN p.created_at::timestamptz END AS created_at
          FROM posts AS p
         WHERE p.id = ANY ($1)) AS post"
        )
    };
}

/// The posts with the optional columns, which not every `posts` has: the unqualified name is the column
/// of `posts` where it exists, and otherwise that of `absent`, which is null.
pub const POSTS: &str =
    posts_with!("to_json(mod_hashtags)::text", "license::text", "source_url::text");

/// The same for a role that may not read all optional columns, because the site added some after its
/// adapter was applied, in the order in which they are tried.
const POSTS_WITH_LESS: [&str; 2] = [
    posts_with!("to_json(mod_hashtags)::text", "NULL::text", "NULL::text"),
    posts_with!("NULL::text", "NULL::text", "NULL::text"),
];

/// Selects the visible comments with their authors' handles, by post in the order of the ids. The
/// unqualified `deleted_by_mod` is the column of `comments` where it exists, as in [`POSTS`]; without
/// the privilege to read it the request fails, so that no archive reveals what moderators deleted.
pub const COMMENTS: &str = "
    SELECT c.id::text, c.post_id::bigint, c.body::text, u.handle::text AS author_handle,
           CASE WHEN c.created_at BETWEEN timestamptz '0001-01-01 00:00:00+00'
                                      AND timestamptz '9999-12-31 23:59:59.999999+00'
                THEN c.created_at::timestamptz END AS created_at
      FROM (SELECT false AS deleted_by_mod) AS absent
     CROSS JOIN LATERAL (
        SELECT c.id, c.post_id, c.author_id, c.body, c.created_at
          FROM comments AS c
         WHERE c.hidden_by_mod = false AND c.deleted_by_owner = false
           AND deleted_by_mod IS NOT TRUE) AS c
      JOIN unnest($1) WITH ORDINALITY AS requested (id, position) ON requested.id = c.post_id
      LEFT JOIN users AS u ON u.id = c.author_id
     ORDER BY requested.position, c.created_at, c.id";

/// Counts the reactions.
pub const REACTIONS: &str = "
    SELECT r.post_id::bigint, r.emoji::text, count(*) AS count
      FROM reactions AS r
     WHERE r.post_id = ANY ($1)
     GROUP BY r.post_id, r.emoji
     ORDER BY r.post_id, count(*) DESC, r.emoji";

/// The context of the errors of loading.
const CONTEXT: &str = "failed to load the request's artist, posts and reactions";

/// Loads what `claim` asks for, and at most `max_posts` of the posts with these ids, which are unique. More are read
/// by [`load_posts`], and the reactions then when they are needed.
///
/// # Errors
/// A permanent failure when the artist or all posts are gone; a retryable one when the database does
/// not respond.
pub async fn load(
    database: &Arc<Database>,
    sqids: &SqidSource,
    claim: &Claim,
    post_ids: Vec<i64>,
    max_posts: usize,
) -> Result<LoadedRequest, Failure> {
    let first = post_ids[..post_ids.len().min(max_posts)].to_vec();
    let (request, posts) = load_with(database, sqids, claim, post_ids, Some(&first)).await?;
    if posts.is_empty() && first.len() == request.post_ids.len() {
        return Err(Failure::permanent(
            "no posts found",
            "None of the requested artworks exist any more.",
        ));
    }
    let posts = in_order(&first, posts);
    Ok(LoadedRequest { posts: posts.map_err(|error| error.context(CONTEXT))?, ..request })
}

/// Loads what `claim` asks for besides the posts, which are stored with a large export.
///
/// # Errors
/// As [`load`].
pub(crate) async fn load_without_posts(
    database: &Arc<Database>,
    sqids: &SqidSource,
    claim: &Claim,
) -> Result<LoadedRequest, Failure> {
    let post_ids = without_duplicates(&claim.post_ids);
    Ok(load_with(database, sqids, claim, post_ids, None).await?.0)
}

/// Loads these posts, in order.
///
/// # Errors
/// A retryable failure when the database does not respond.
pub(crate) async fn load_posts(
    database: &Arc<Database>,
    sqids: &SqidSource,
    post_ids: &Vec<i64>,
) -> Result<Vec<Result<Post, MissingPost>>, Failure> {
    let read = async {
        check_after_pause(database).await?;
        database.read(|client| async move { posts(&client, post_ids, sqids).await }).await
    };
    read.await.and_then(|posts| in_order(post_ids, posts)).map_err(|error| error.context(CONTEXT))
}

/// Loads the request without the posts, and beside it the posts `first`. The reactions are loaded only beside
/// all posts.
async fn load_with(
    database: &Arc<Database>,
    sqids: &SqidSource,
    claim: &Claim,
    post_ids: Vec<i64>,
    first: Option<&Vec<i64>>,
) -> Result<(LoadedRequest, Vec<ReadPost>), Failure> {
    let user_id = claim.user_id.ok_or_else(no_artist)?;
    let all = first.filter(|first| first.len() == post_ids.len() && claim.include_reactions);
    let (artist, posts, reactions) = database
        .read(|client| async move {
            let of_artist: [(&(dyn ToSql + Sync), Type); 1] = [(&user_id, Type::INT8)];
            tokio::try_join!(
                client.query_typed(ARTIST, &of_artist),
                optional(first.map(|first| posts(&client, first, sqids))),
                optional(all.map(|all| reactions(&client, all))),
            )
        })
        .await
        .map_err(|error| error.context(CONTEXT))?;

    let artist = Artist::read(artist.first().ok_or_else(no_artist)?, sqids, user_id)?;
    let reactions = match reactions {
        Some(rows) => {
            let loaded: Result<_, DatabaseError> = rows.into_iter().collect();
            Some(ReactionSource::Loaded(loaded.map_err(|error| error.context(CONTEXT))?))
        }
        None => claim.include_reactions.then(|| ReactionSource::Stored(Arc::clone(database))),
    };
    let comments = claim.include_comments.then(|| Comments { database: Arc::clone(database) });
    let request = LoadedRequest { artist, post_ids, posts: Vec::new(), comments, reactions };
    Ok((request, posts.unwrap_or_default()))
}

impl ReactionSource {
    /// Returns the reactions to these posts, most frequent first. Those that are loaded are returned whatever the
    /// posts are.
    ///
    /// # Errors
    /// When the database does not respond.
    pub(crate) async fn read(
        &self,
        post_ids: &Vec<i64>,
    ) -> Result<Cow<'_, [Reactions]>, DatabaseError> {
        match self {
            Self::Loaded(loaded) => Ok(Cow::Borrowed(loaded)),
            Self::Stored(database) => {
                check_after_pause(database).await?;
                let rows = database
                    .read(|client| async move { reactions(&client, post_ids).await })
                    .await?;
                rows.into_iter().collect::<Result<_, _>>().map(Cow::Owned)
            }
        }
    }
}

impl Comments {
    /// Streams the visible comments on these posts: by post in the order of the ids, oldest first.
    /// The caller must read the stream to its end before anything else uses the connection.
    ///
    /// # Errors
    /// When the database does not respond. An item is an error when the connection breaks or the next
    /// comment does not arrive in time.
    pub(crate) async fn stream(
        &self,
        post_ids: &Vec<i64>,
    ) -> Result<impl Stream<Item = Result<Comment, DatabaseError>>, DatabaseError> {
        check_after_pause(&self.database).await?;
        let rows = self.database.read(|client| async move {
            client.query_typed_raw(COMMENTS, [(post_ids, Type::INT8_ARRAY)]).await
        });
        Ok(stream::try_unfold(Box::pin(rows.await?), async |mut rows| {
            let row = limited(rows.try_next()).await?;
            row.map(|row| Ok((read_comment(&row)?, rows))).transpose()
        }))
    }
}

/// Replaces a connection that was lost in a pause, such as the fetching of the artworks. A check has a shorter
/// limit than a statement about many rows, whose first row arrives after the server has sorted all.
async fn check_after_pause(database: &Database) -> Result<(), DatabaseError> {
    database.execute_idempotent(|client| async move { client.check_connection().await }).await
}

impl Artist {
    /// Returns the artist, or `None` without a public id.
    pub(crate) fn from_recipient(recipient: Recipient) -> Option<Self> {
        let Recipient { handle, email, sqid } = recipient;
        Some(Self { handle, email, sqid: sqid? })
    }

    /// Reads a row of [`ARTIST`].
    ///
    /// # Errors
    /// A permanent failure when the row is malformed or yields no public id.
    fn read(row: &Row, sqids: &SqidSource, user_id: i64) -> Result<Self, Failure> {
        let recipient = Recipient::read(row, sqids, user_id)
            .map_err(|error| error.context("failed to read the artist's row"))?;
        Self::from_recipient(recipient).ok_or_else(|| {
            Failure::permanent_fault(
                "the artist has no usable public id",
                "users.public_sqid is empty or unsafe in a key, and SQIDS_ALPHABET gives none",
            )
        })
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
        user_id: i64,
    ) -> Result<Option<Self>, DatabaseError> {
        let row = database
            .read(|client| async move {
                client.query_typed_opt(ARTIST, &[(&user_id, Type::INT8)]).await
            })
            .await?;
        row.map(|row| Self::read(&row, sqids, user_id)).transpose()
    }

    /// An unreadable handle or address counts as null.
    fn read(row: &Row, sqids: &SqidSource, user_id: i64) -> Result<Self, DatabaseError> {
        let text = |name| column::<Option<String>>(row, name).unwrap_or_default();
        let stored_sqid: Option<String> = column(row, "public_sqid")?;
        Ok(Self {
            handle: text("handle").unwrap_or_default(),
            email: text("email"),
            sqid: sqids.sqid(stored_sqid.as_deref(), user_id),
        })
    }
}

/// Returns the ids in order, without duplicates.
#[must_use]
pub fn without_duplicates(ids: &[i64]) -> Vec<i64> {
    let mut seen = std::collections::HashSet::with_capacity(ids.len());
    ids.iter().copied().filter(|id| seen.insert(*id)).collect()
}

fn no_artist() -> Failure {
    Failure::permanent("user not found", "The account that requested this download was not found.")
}

/// Selects these posts.
async fn posts(
    client: &Client,
    post_ids: &Vec<i64>,
    sqids: &SqidSource,
) -> Result<Vec<ReadPost>, tokio_postgres::Error> {
    let decode = |row: &Row| read_post(row, sqids);
    let mut posts = decoded(client, POSTS, post_ids, decode).await;
    for with_less in POSTS_WITH_LESS {
        match posts {
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                posts = decoded(client, with_less, post_ids, decode).await;
            }
            _ => break,
        }
    }
    posts
}

/// Selects the reactions to these posts.
async fn reactions(
    client: &Client,
    post_ids: &Vec<i64>,
) -> Result<Vec<Result<Reactions, DatabaseError>>, tokio_postgres::Error> {
    decoded(client, REACTIONS, post_ids, read_reactions).await
}

/// Runs a query about these posts, and drops each row when it is decoded.
async fn decoded<T>(
    client: &Client,
    sql: &str,
    post_ids: &Vec<i64>,
    decode: impl Fn(&Row) -> T,
) -> Result<Vec<T>, tokio_postgres::Error> {
    let rows = client.query_typed_raw(sql, [(post_ids, Type::INT8_ARRAY)]).await?;
    rows.map_ok(|row| decode(&row)).try_collect().await
}

async fn optional<T, E>(query: Option<impl Future<Output = Result<T, E>>>) -> Result<Option<T>, E> {
    OptionFuture::from(query).await.transpose()
}

/// Returns the posts in the requested order. A map of the posts would take as much memory as they do, so the
/// map has their places.
fn in_order(
    requested: &[i64],
    read: Vec<ReadPost>,
) -> Result<Vec<Result<Post, MissingPost>>, DatabaseError> {
    let places: HashMap<i64, usize> = requested.iter().copied().zip(0..).collect();
    let no_such = |id: &i64| {
        Err(MissingPost { id: *id, missing: Missing::permanent(MissingCode::NoSuchArtwork) })
    };
    let mut posts: Vec<_> = requested.iter().map(no_such).collect();
    for read in read {
        let (id, post) = read?;
        if let Some(place) = places.get(&id).and_then(|place| posts.get_mut(*place)) {
            *place = post.map_err(|missing| MissingPost { id, missing });
        }
    }
    Ok(posts)
}

/// A row of [`POSTS`]: the id, and the post if its other values are readable.
type ReadPost = Result<(i64, Result<Post, Missing>), DatabaseError>;

/// Reads a row of [`POSTS`]. A post with another unreadable value than its id is missing.
fn read_post(row: &Row, sqids: &SqidSource) -> ReadPost {
    let id = column(row, "id")?;
    Ok((id, read_columns(row, id, sqids).map_err(|error| malformed(&error))))
}

/// Returns the reason of a post with an unreadable row.
fn malformed(error: &DatabaseError) -> Missing {
    Missing::permanent(MissingCode::MalformedRow).with_detail(chain(error))
}

fn read_columns(row: &Row, id: i64, sqids: &SqidSource) -> Result<Post, DatabaseError> {
    let stored_sqid: Option<String> = column(row, "public_sqid")?;
    Ok(Post {
        id,
        sqid: sqids.sqid(stored_sqid.as_deref(), id),
        title: column(row, "title")?,
        description: column(row, "description")?,
        hashtags: flattened(column(row, "hashtags")?),
        mod_hashtags: column::<Option<&str>>(row, "mod_hashtags")?
            .map(|json| flattened(Some(json))),
        license: column(row, "license")?,
        source_url: column(row, "source_url")?,
        art_url: column(row, "art_url")?,
        file_format: column(row, "file_format")?,
        width: integer(row, "width")?,
        height: integer(row, "height")?,
        frame_count: integer(row, "frame_count")?,
        created_at: column(row, "created_at")?,
    })
}

/// Reads an integer selected as text, which the column's type does not limit. Returns `None` for any
/// other text.
fn integer(row: &Row, name: &str) -> Result<Option<i32>, DatabaseError> {
    let text: Option<&str> = column(row, name)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// Returns the texts of a JSON array of any dimension, in order and without nulls.
fn flattened(json: Option<&str>) -> Vec<String> {
    fn collect(value: Value, texts: &mut Vec<String>) {
        match value {
            Value::Null => {}
            Value::String(text) => texts.push(text),
            Value::Array(values) => values.into_iter().for_each(|value| collect(value, texts)),
            other => texts.push(other.to_string()),
        }
    }
    let mut texts = Vec::new();
    collect(json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default(), &mut texts);
    // A first push allocates room for four, and all posts of a request are in memory.
    texts.shrink_to_fit();
    texts
}

/// Reads a row of [`COMMENTS`]. An unreadable value counts as null.
fn read_comment(row: &Row) -> Result<Comment, DatabaseError> {
    let text = |name| column::<Option<String>>(row, name).unwrap_or_default();
    Ok(Comment {
        post_id: column(row, "post_id")?,
        id: column(row, "id")?,
        author_handle: text("author_handle"),
        body: text("body").unwrap_or_default(),
        created_at: column(row, "created_at")?,
    })
}

/// Reads a row of [`REACTIONS`]. An unreadable emoji counts as null.
fn read_reactions(row: &Row) -> Result<Reactions, DatabaseError> {
    Ok(Reactions {
        post_id: column(row, "post_id")?,
        emoji: column::<Option<String>>(row, "emoji").unwrap_or_default().unwrap_or_default(),
        count: column(row, "count")?,
    })
}
