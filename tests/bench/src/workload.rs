//! What is asked of the function, and the rows that ask it.

use std::fmt;

use anyhow::Result;
use local_stack::seed::{Post, Request, User};
use time::macros::datetime;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::artwork::Artwork;

/// A request for artworks of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) artworks: u64,
    pub(crate) artwork_bytes: u64,
}

/// A workload that is in the database.
#[derive(Debug)]
pub(crate) struct Seeded {
    pub(crate) bdr_id: Uuid,
    pub(crate) artworks: Vec<NamedArtwork>,
}

/// An artwork and what it is to be called in the ZIP.
#[derive(Debug)]
pub(crate) struct NamedArtwork {
    pub(crate) name: String,
    pub(crate) artwork: Artwork,
}

impl Workload {
    /// As many artworks as it takes to reach `bytes`.
    pub(crate) fn of_size(bytes: u64, artwork_bytes: u64) -> Self {
        Self { artworks: bytes.div_ceil(artwork_bytes).max(1), artwork_bytes }
    }

    /// All artworks together.
    pub(crate) fn bytes(self) -> u64 {
        self.artworks * self.artwork_bytes
    }

    /// Inserts an artist, the posts and the request, with everything asked for that can be.
    pub(crate) async fn seed(self, database: &Client) -> Result<Seeded> {
        // Unique, and at most the 16 characters that the tables allow with a number behind it.
        let unique = &Uuid::new_v4().simple().to_string()[..10];
        let artist = User {
            handle: unique.into(),
            email: format!("{unique}@example.com"),
            public_sqid: Some(unique.into()),
        };
        let user_id = artist.insert(database).await?;

        let (mut post_ids, mut artworks) = (Vec::new(), Vec::new());
        for number in 0..self.artworks {
            let artwork = Artwork { number, size: self.artwork_bytes };
            let sqid = format!("{unique}{number}");
            let post = Post {
                owner_id: user_id,
                public_sqid: Some(sqid.clone()),
                title: format!("Artwork {number}"),
                description: None,
                hashtags: vec!["benchmark".into()],
                art_url: Some(format!("/vault/{}", artwork.key())),
                file_format: Some("png".into()),
                width: 1024,
                height: 1024,
                frame_count: 1,
                created_at: datetime!(2025-03-04 09:30:15 UTC),
            };
            post_ids.push(post.insert(database).await?);
            artworks.push(NamedArtwork { name: format!("artworks/{sqid}.png"), artwork });
        }
        let request = Request {
            user_id,
            post_ids,
            include_comments: true,
            include_reactions: true,
            send_email: true,
        };
        Ok(Seeded { bdr_id: request.insert(database).await?, artworks })
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes() {
            bytes @ ..1_000_000 => write!(f, "{} kB", bytes.div_ceil(1_000)),
            bytes @ ..1_000_000_000 => write!(f, "{} MB", bytes / 1_000_000),
            bytes => {
                let tenths = bytes / 100_000_000;
                write!(f, "{}.{} GB", tenths / 10, tenths % 10)
            }
        }
    }
}
