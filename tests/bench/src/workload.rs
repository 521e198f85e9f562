//! Requests to measure, and their rows in the database.

use std::fmt;

use anyhow::Result;
use bdr_bench::{
    artwork::Artwork,
    job::{Entry, Job},
};
use clap::ValueEnum;
use local_stack::seed::{Post, Request, User};
use time::macros::datetime;
use tokio_postgres::Client;
use uuid::Uuid;

/// Artworks to request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) artworks: u64,
    /// The mean size.
    artwork_bytes: u64,
    sizes: Sizes,
    /// Whether the artworks are on a web server instead of in the vault.
    web: bool,
}

/// The distribution of sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sizes {
    /// In turn, in tenths of the mean.
    Tenths(&'static [u64]),
    /// Log-normal around a median instead of a mean, with a spread of 2, up to this size, which the first
    /// artwork has.
    LogNormalUpTo(u64),
    /// Normal, with a standard deviation of a fifth of the mean.
    Normal,
}

/// The name of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// 128 small files, 2.6 MB.
    W1,
    /// 5,000 small files, 49 MB.
    W2,
    /// 400 files of 5 MB, 2 GB.
    W3,
    /// 10,000 files: half of them below 20 KB, one of 60 MB, 1.6 GB.
    W5,
    /// 3,000 files of 5 MiB ± 1 MiB, 15.7 GB: the public benchmark `demo-s3-archiving`.
    W6,
    /// 20 files of 60 MiB.
    Large,
    /// 128 small files from a web server.
    Web,
}

/// A workload in the database.
pub(crate) struct Seeded {
    pub(crate) workload: Workload,
    /// The same job for a peer.
    pub(crate) job: Job,
    /// A request with all options.
    pub(crate) request: Request,
}

impl From<Preset> for Workload {
    fn from(preset: Preset) -> Self {
        let varied = |artworks, artwork_bytes, web| Self {
            artworks,
            artwork_bytes,
            sizes: Sizes::Tenths(&[2, 4, 6, 8, 10, 12, 16, 22]),
            web,
        };
        match preset {
            Preset::W1 => varied(128, 20_300, false),
            Preset::W2 => varied(5_000, 9_800, false),
            Preset::W3 => Self::of_size(2_000_000_000, 5_000_000),
            Preset::W5 => Self {
                artworks: 10_000,
                artwork_bytes: 20_000,
                sizes: Sizes::LogNormalUpTo(60_000_000),
                web: false,
            },
            Preset::W6 => {
                Self { artworks: 3_000, artwork_bytes: 5 << 20, sizes: Sizes::Normal, web: false }
            }
            Preset::Large => Self::of_size(20 * (60 << 20), 60 << 20),
            Preset::Web => varied(128, 20_300, true),
        }
    }
}

impl Workload {
    /// Returns as many artworks as `bytes` need, and at least one.
    pub(crate) fn of_size(bytes: u64, artwork_bytes: u64) -> Self {
        let artworks = bytes.div_ceil(artwork_bytes).max(1);
        Self { artworks, artwork_bytes, sizes: Sizes::Tenths(&[10]), web: false }
    }

    fn artworks(self) -> impl Iterator<Item = Artwork> {
        (0..self.artworks).map(move |number| Artwork { number, size: self.size(number) })
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sizes are far below 2^53, and positive"
    )]
    fn size(self, number: u64) -> u64 {
        let mean = self.artwork_bytes;
        match self.sizes {
            Sizes::Tenths(tenths) => mean * tenths[number as usize % tenths.len()] / 10,
            Sizes::LogNormalUpTo(max) if number == 0 => max,
            Sizes::LogNormalUpTo(max) => {
                ((mean as f64 * (2.0 * normal(number)).exp()) as u64).clamp(1, max)
            }
            Sizes::Normal => (mean as f64 * (1.0 + 0.2 * normal(number)).max(0.1)) as u64,
        }
    }

    /// Inserts an artist and the posts. `endpoint` is the URL of the S3 server.
    pub(crate) async fn seed(self, database: &Client, endpoint: &str) -> Result<Seeded> {
        // Unique, and short enough for the 16 characters of a public id with a number behind it.
        let unique = &Uuid::new_v4().simple().to_string()[..10];
        let artist = User {
            handle: unique.into(),
            email: format!("{unique}@example.com"),
            public_sqid: Some(unique.into()),
        };
        let user_id = artist.insert(database).await?;
        let origin = if self.web { endpoint } else { "" };
        let (mut post_ids, mut entries) = (Vec::new(), Vec::new());
        database.batch_execute("BEGIN").await?;
        for artwork in self.artworks() {
            let number = artwork.number;
            let sqid = format!("{unique}{number}");
            let post = Post {
                owner_id: user_id,
                public_sqid: Some(sqid.clone()),
                title: format!("Artwork {number}"),
                description: None,
                hashtags: vec!["benchmark".into()],
                art_url: Some(format!("{origin}/vault/{}", artwork.key())),
                file_format: Some("png".into()),
                width: 1024,
                height: 1024,
                frame_count: 1,
                created_at: datetime!(2025-03-04 09:30:15 UTC),
            };
            post_ids.push(post.insert(database).await?);
            let name = format!("artworks/{sqid}.png");
            entries.push(Entry { key: artwork.key(), name, size: artwork.size });
        }
        database.batch_execute("COMMIT").await?;
        let request = Request {
            user_id,
            post_ids,
            include_comments: true,
            include_reactions: true,
            send_email: true,
        };
        let job = Job {
            endpoint: endpoint.to_owned(),
            bucket: "vault".into(),
            entries,
            zip: "bdr/peer/peer.zip".into(),
            concurrency: 32,
            uploads_last: false,
        };
        Ok(Seeded { workload: self, job, request })
    }
}

/// Returns a standard normal deviate, the same every time (Box and Muller).
fn normal(number: u64) -> f64 {
    let mut rng = fastrand::Rng::with_seed(number);
    let (radius, angle) = (1.0 - rng.f64(), rng.f64());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: u64 = self.artworks().map(|artwork| artwork.size).sum();
        let tenths = (bytes + 50_000) / 100_000;
        write!(f, "{}.{} MB", tenths / 10, tenths % 10)
    }
}
