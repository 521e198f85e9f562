//! What is asked of the function, and the rows that ask it.

use std::fmt;

use anyhow::Result;
use bdr_bench_jobs::{
    artwork::Artwork,
    manifest::{Entry, Manifest},
};
use local_stack::seed::{Post, Request, User};
use time::macros::datetime;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::options::Pile;

/// The spread of sizes in a pile of small files, in tenths of their mean.
const SPREAD: [u64; 8] = [2, 4, 6, 8, 10, 12, 16, 22];

/// A request for a pile of artworks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) artworks: u64,
    /// Their mean size.
    pub(crate) artwork_bytes: u64,
    /// Whether their sizes differ.
    spread: bool,
    /// Whether they are fetched from a web server, and not from the vault.
    pub(crate) web: bool,
}

/// A workload that is in the database.
#[derive(Debug)]
pub(crate) struct Seeded {
    pub(crate) artworks: Vec<NamedArtwork>,
    request: Request,
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
        let artworks = bytes.div_ceil(artwork_bytes).max(1);
        Self { artworks, artwork_bytes, spread: false, web: false }
    }

    pub(crate) fn of_pile(pile: Pile) -> Self {
        match pile {
            Pile::W1 => Self { artworks: 128, artwork_bytes: 20_300, spread: true, web: false },
            Pile::W2 => Self { artworks: 5_000, artwork_bytes: 9_800, spread: true, web: false },
            Pile::W3 => Self::of_size(2_000_000_000, 5_000_000),
            Pile::Web => Self { web: true, ..Self::of_pile(Pile::W1) },
        }
    }

    /// All artworks together.
    pub(crate) fn bytes(self) -> u64 {
        (0..self.artworks).map(|number| self.artwork(number).size).sum()
    }

    fn artwork(self, number: u64) -> Artwork {
        let tenths = usize::try_from(number).map_or(10, |number| SPREAD[number % SPREAD.len()]);
        let size = if self.spread { self.artwork_bytes * tenths / 10 } else { self.artwork_bytes };
        Artwork { number, size }
    }

    /// Inserts an artist and the posts, whose files are where `web` says if they are to come from a web
    /// server.
    pub(crate) async fn seed(self, database: &Client, web: &str) -> Result<Seeded> {
        // Unique, and at most the 16 characters that the tables allow with a number behind it.
        let unique = &Uuid::new_v4().simple().to_string()[..10];
        let artist = User {
            handle: unique.into(),
            email: format!("{unique}@example.com"),
            public_sqid: Some(unique.into()),
        };
        let user_id = artist.insert(database).await?;

        let (mut post_ids, mut artworks) = (Vec::new(), Vec::new());
        database.batch_execute("BEGIN").await?;
        for number in 0..self.artworks {
            let artwork = self.artwork(number);
            let sqid = format!("{unique}{number}");
            let place = if self.web { web } else { "/vault" };
            let post = Post {
                owner_id: user_id,
                public_sqid: Some(sqid.clone()),
                title: format!("Artwork {number}"),
                description: None,
                hashtags: vec!["benchmark".into()],
                art_url: Some(format!("{place}/{}", artwork.key())),
                file_format: Some("png".into()),
                width: 1024,
                height: 1024,
                frame_count: 1,
                created_at: datetime!(2025-03-04 09:30:15 UTC),
            };
            post_ids.push(post.insert(database).await?);
            artworks.push(NamedArtwork { name: format!("artworks/{sqid}.png"), artwork });
        }
        database.batch_execute("COMMIT").await?;
        let request = Request {
            user_id,
            post_ids,
            include_comments: true,
            include_reactions: true,
            send_email: true,
        };
        Ok(Seeded { artworks, request })
    }
}

impl Seeded {
    /// Inserts a request for all of it, with everything asked for that can be.
    pub(crate) async fn request(&self, database: &Client) -> Result<Uuid> {
        self.request.insert(database).await
    }

    /// The same job for a peer.
    pub(crate) fn manifest(&self) -> Manifest {
        let entry = |named: &NamedArtwork| Entry {
            key: named.artwork.key(),
            name: named.name.clone(),
            size: named.artwork.size,
        };
        Manifest {
            bucket: "vault".into(),
            entries: self.artworks.iter().map(entry).collect(),
            zip: "bdr/peer/peer.zip".into(),
        }
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
