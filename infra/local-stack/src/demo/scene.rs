//! What is there before the artist asks: posts, artworks, comments, reactions.

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

const POSTS: usize = 28;
/// These lie on somebody else's web server.
const REMOTE: [usize; 2] = [6, 20];
/// This one is gone from the vault.
const MISSING: usize = 17;
/// The handle of somebody who comments.
const FRIEND: &str = "Zoë.draws";
/// The day on which the artist posted for the first time.
const FIRST_DAY: OffsetDateTime = datetime!(2023-03-04 09:30:15 UTC);

/// Everything that was put in place.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) artist: User,
    pub(crate) artist_id: i32,
    /// Another user, who comments.
    pub(crate) friend_id: i32,
    pub(crate) artist_sqid: String,
    pub(crate) posts: Vec<Exhibit>,
    pub(crate) comments: Vec<Remark>,
    /// Post (its place in `posts`), emoji, how often.
    pub(crate) reactions: Vec<(usize, &'static str, i32)>,
    pub(crate) request_id: Uuid,
}

/// A post, and the file it stands for.
#[derive(Debug)]
pub(crate) struct Exhibit {
    pub(crate) sqid: String,
    pub(crate) post: Post,
    pub(crate) artwork: Artwork,
    pub(crate) source: Source,
}

/// Where a post's file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Vault,
    Remote,
    Missing,
}

/// A comment, and what is expected to be made of it.
#[derive(Debug)]
pub(crate) struct Remark {
    pub(crate) id: Uuid,
    /// Its post's place in [`Scene::posts`].
    pub(crate) post: usize,
    pub(crate) author: &'static str,
    pub(crate) comment: Comment,
}

impl Scene {
    /// Fills vault, web server and tables, and makes the request's row; it is not yet published.
    pub(crate) async fn put_in_place(
        stack: &LocalStack,
        database: &Client,
        remote: &RemoteHost,
    ) -> Result<Self> {
        let artist_sqid = "k5rA".to_owned();
        let artist = User {
            handle: "noa_pixels".into(),
            email: "noa@example.com".into(),
            public_sqid: Some(artist_sqid.clone()),
        };
        let artist_id = artist.insert(database).await?;
        let friend =
            User { handle: FRIEND.into(), email: "zoe@example.com".into(), public_sqid: None };
        let friend_id = friend.insert(database).await?;

        let (mut posts, mut post_ids) = (Vec::new(), Vec::new());
        for index in 0..POSTS {
            let exhibit = exhibit(index, artist_id, remote);
            if exhibit.source == Source::Vault {
                let bytes = exhibit.artwork.bytes.clone();
                seed::put_artwork(
                    &stack.s3(),
                    stack.bucket()?,
                    &vault_key(index, &exhibit.artwork),
                    bytes,
                )
                .await?;
            }
            post_ids.push(exhibit.post.insert(database).await?);
            posts.push(exhibit);
        }
        let comments = comments(database, artist_id, friend_id, &post_ids).await?;
        let reactions =
            vec![(0, "❤️", 12), (0, "👾", 3), (2, "🔥", 1), (9, "❤️", 40), (MISSING, "😢", 2)];
        for &(post, emoji, count) in &reactions {
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
        Ok(Self {
            artist,
            artist_id,
            friend_id,
            artist_sqid,
            posts,
            comments,
            reactions,
            request_id,
        })
    }

    /// The posts whose file is to be had.
    pub(crate) fn available(&self) -> impl Iterator<Item = &Exhibit> {
        self.posts.iter().filter(|exhibit| exhibit.source != Source::Missing)
    }

    pub(crate) fn summary(&self) -> String {
        let count = |source| self.posts.iter().filter(|exhibit| exhibit.source == source).count();
        format!(
            "{} asks for {} artworks with comments, reactions and an e-mail: {} in the vault, {} on \
             another web server, {} missing.",
            self.artist.handle,
            self.posts.len(),
            count(Source::Vault),
            count(Source::Remote),
            count(Source::Missing),
        )
    }
}

fn exhibit(index: usize, artist_id: i32, remote: &RemoteHost) -> Exhibit {
    let artwork = artwork(index);
    let sqid = format!("{}{index}", ["Qx", "aZ", "m7", "Tt"][index % 4]);
    let source = match index {
        _ if REMOTE.contains(&index) => Source::Remote,
        MISSING => Source::Missing,
        _ => Source::Vault,
    };
    let art_url = if source == Source::Remote {
        let path = format!("/gallery/{index}.{}", artwork.extension());
        remote.put(&path, artwork.format.to_mime_type(), artwork.bytes.clone())
    } else {
        format!("/vault/{}", vault_key(index, &artwork))
    };
    let created_at = FIRST_DAY + Duration::DAY * 11 * i32::try_from(index).unwrap_or(0);
    let post = artwork.post(artist_id, sqid.clone(), art_url, created_at);
    Exhibit { sqid, post, artwork, source }
}

/// As the site lays its vault out: three levels of directories from a hash.
fn vault_key(index: usize, artwork: &Artwork) -> String {
    let hash = (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let [a, b, c, ..] = hash.to_be_bytes();
    format!("{a:02x}/{b:02x}/{c:02x}/{hash:016x}.{}", artwork.extension())
}

async fn comments(
    database: &Client,
    artist_id: i32,
    friend_id: i32,
    post_ids: &[i32],
) -> Result<Vec<Remark>> {
    // Post, author, text, hidden, deleted, days after the first day: not in their order of age.
    let wanted = [
        (0, Some((friend_id, FRIEND)), "¡Qué bonito! 😍", false, false, 30),
        (0, None, "How long did this take you?", false, false, 12),
        (0, Some((artist_id, "noa_pixels")), "Two evenings.\nAnd \"one\" night.", false, false, 13),
        (4, Some((friend_id, FRIEND)), "BUY FOLLOWERS CHEAP", true, false, 50),
        (4, Some((friend_id, FRIEND)), "I take that back", false, true, 51),
        (4, None, "Wärmt richtig 🔥", false, false, 52),
        (MISSING, Some((friend_id, FRIEND)), "Where has it gone?", false, false, 300),
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
