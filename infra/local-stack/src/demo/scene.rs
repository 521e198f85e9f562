//! The state before the request: posts, artworks, comments, reactions.

use anyhow::Result;
use local_stack::{
    LocalStack,
    artworks::{Artwork, artwork},
    remote::RemoteHost,
    seed::{self, Comment, Post, Request, User},
};
use time::{Duration, OffsetDateTime, macros::datetime};
use tokio_postgres::Client;
use uuid::Uuid;

/// Public id of the artist.
pub(crate) const ARTIST_SQID: &str = "k5rA";
/// Handle of another user, who comments.
const FRIEND: &str = "Zoë.draws";

const POSTS: usize = 28;
/// The posts whose artwork is on a third party's web server.
const REMOTE: [usize; 2] = [6, 20];
/// The post whose artwork is missing from the vault.
const MISSING: usize = 17;
/// Index in [`Scene::posts`], emoji and number of reactions.
pub(crate) const REACTIONS: [(usize, &str, i32); 5] =
    [(0, "❤️", 12), (0, "👾", 3), (2, "🔥", 1), (9, "❤️", 40), (MISSING, "😢", 2)];
/// Time of the artist's first post.
const FIRST_DAY: OffsetDateTime = datetime!(2023-03-04 09:30:15 UTC);

/// Everything that was put in place.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) artist: User,
    pub(crate) artist_id: i32,
    pub(crate) friend_id: i32,
    pub(crate) posts: Vec<Exhibit>,
    pub(crate) comments: Vec<Remark>,
    pub(crate) request_id: Uuid,
}

/// A post with its artwork.
#[derive(Debug)]
pub(crate) struct Exhibit {
    pub(crate) sqid: String,
    pub(crate) post: Post,
    pub(crate) artwork: Artwork,
    pub(crate) source: Source,
}

/// Place of a post's artwork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Vault,
    Remote,
    Missing,
}

/// A comment, with what the archive shows of it.
#[derive(Debug)]
pub(crate) struct Remark {
    pub(crate) id: Uuid,
    /// Index of its post in [`Scene::posts`].
    pub(crate) post: usize,
    pub(crate) author: &'static str,
    pub(crate) comment: Comment,
}

impl Scene {
    /// Fills vault, web server and tables, and inserts the request, which is not yet published.
    pub(crate) async fn put_in_place(
        stack: &LocalStack,
        database: &Client,
        remote: &RemoteHost,
    ) -> Result<Self> {
        let artist = User {
            handle: "noa_pixels".into(),
            email: "noa@example.com".into(),
            public_sqid: Some(ARTIST_SQID.into()),
        };
        let artist_id = artist.insert(database).await?;
        let friend =
            User { handle: FRIEND.into(), email: "zoe@example.com".into(), public_sqid: None };
        let friend_id = friend.insert(database).await?;

        let (mut posts, mut post_ids) = (Vec::new(), Vec::new());
        for index in 0..POSTS {
            let exhibit = exhibit(stack, index, artist_id, remote).await?;
            post_ids.push(exhibit.post.insert(database).await?);
            posts.push(exhibit);
        }
        let comments = comments(database, artist_id, friend_id, &post_ids).await?;
        for (post, emoji, count) in REACTIONS {
            seed::react(database, post_ids[post], emoji, count).await?;
        }
        let request = Request {
            user_id: artist_id,
            post_ids,
            include_comments: true,
            include_reactions: true,
            send_email: true,
        };
        let request_id = request.insert(database).await?;
        Ok(Self { artist, artist_id, friend_id, posts, comments, request_id })
    }

    /// Returns the posts whose artwork can be fetched.
    pub(crate) fn available(&self) -> impl Iterator<Item = &Exhibit> {
        self.posts.iter().filter(|exhibit| exhibit.source != Source::Missing)
    }

    pub(crate) fn summary(&self) -> String {
        let count = |source| self.posts.iter().filter(|exhibit| exhibit.source == source).count();
        format!(
            "{} asks for {} artworks with comments, reactions and an e-mail:\n  \
             {} in the vault, {} on another web server, {} missing.",
            self.artist.handle,
            self.posts.len(),
            count(Source::Vault),
            count(Source::Remote),
            count(Source::Missing),
        )
    }
}

/// Draws an artwork and puts it where its post says.
async fn exhibit(
    stack: &LocalStack,
    index: usize,
    artist_id: i32,
    remote: &RemoteHost,
) -> Result<Exhibit> {
    let artwork = artwork(index);
    let sqid = format!("{}{index}", ["Qx", "aZ", "m7", "Tt"][index % 4]);
    let source = match index {
        MISSING => Source::Missing,
        _ if REMOTE.contains(&index) => Source::Remote,
        _ => Source::Vault,
    };
    let key = vault_key(index, artwork.extension());
    let bytes = artwork.bytes.clone();
    if source == Source::Vault {
        seed::put_artwork(&stack.s3(), stack.bucket()?, &key, bytes.clone()).await?;
    }
    let art_url = if source == Source::Remote {
        let path = format!("/gallery/{index}.{}", artwork.extension());
        remote.put(&path, artwork.format.to_mime_type(), bytes)
    } else {
        format!("/vault/{key}")
    };
    let created_at = FIRST_DAY + Duration::DAY * 11 * i32::try_from(index)?;
    let post = artwork.post(artist_id, sqid.clone(), art_url, created_at);
    Ok(Exhibit { sqid, post, artwork, source })
}

/// Returns a key in the layout of the site's vault: three levels of directories from a hash.
fn vault_key(index: usize, extension: &str) -> String {
    let hash = (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let [a, b, c, ..] = hash.to_be_bytes();
    format!("{a:02x}/{b:02x}/{c:02x}/{hash:016x}.{extension}")
}

async fn comments(
    database: &Client,
    artist_id: i32,
    friend_id: i32,
    post_ids: &[i32],
) -> Result<Vec<Remark>> {
    let (friend, artist) = (Some((friend_id, FRIEND)), Some((artist_id, "noa_pixels")));
    // Post, author, text, hidden, deleted, days after the first day: not in the order of time.
    let wanted = [
        (0, friend, "¡Qué bonito! 😍", false, false, 30),
        (0, None, "How long did this take you?", false, false, 12),
        (0, artist, "Two evenings.\nAnd \"one\" night.", false, false, 13),
        (4, friend, "BUY FOLLOWERS CHEAP", true, false, 50),
        (4, friend, "I take that back", false, true, 51),
        (4, None, "Wärmt richtig 🔥", false, false, 52),
        (MISSING, friend, "Where has it gone?", false, false, 300),
    ];
    let mut remarks = Vec::new();
    for (post, author, body, hidden_by_mod, deleted_by_owner, days) in wanted {
        let comment = Comment {
            post_id: post_ids[post],
            author_id: author.map(|(id, _)| id),
            body: body.into(),
            hidden_by_mod,
            deleted_by_owner,
            created_at: FIRST_DAY + Duration::DAY * days,
        };
        let id = comment.insert(database).await?;
        let author = author.map_or("anonymous", |(_, handle)| handle);
        remarks.push(Remark { id, post, author, comment });
    }
    Ok(remarks)
}
