//! A site with a database of its own, in one of the schemas.

use std::path::Path;
use std::process::Output;

use bdr_tests::Scenario;
use bdr_tests::scenario::unique;
use local_stack::seed;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// Where the photo gallery publishes the vault.
const GALLERY_URL: &str = "https://photos.example/originals/";

/// A schema, and the adapter for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schema {
    Specification,
    Makapix2026,
    PhotoGallery,
}

/// A site whose API is the scenario's `database`, as the owner of the tables. The functions connect as
/// their role.
pub(crate) struct Site {
    pub(crate) s: Scenario,
    pub(crate) schema: Schema,
    pub(crate) artist: i64,
    /// The URL of the database for the owner of the tables, who is no superuser.
    pub(crate) owner_url: String,
}

/// A comment, by who has removed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comment {
    Visible,
    HiddenByModerator,
    DeletedByAuthor,
    DeletedByModerator,
}

impl Schema {
    pub(crate) const ALL: [Self; 3] = [Self::Specification, Self::Makapix2026, Self::PhotoGallery];

    /// Returns the file name of the adapter.
    pub(crate) fn adapter(self) -> &'static str {
        match self {
            Self::Specification => "specification.sql",
            Self::Makapix2026 => "makapix-2026.sql",
            Self::PhotoGallery => "photo-gallery.sql",
        }
    }

    fn tables(self) -> &'static str {
        match self {
            Self::Specification => "infra/sql/schema.sql",
            Self::Makapix2026 => "tests/scenarios/adapters/schemas/makapix_2026.sql",
            Self::PhotoGallery => "tests/scenarios/adapters/schemas/photo_gallery.sql",
        }
    }
}

impl Site {
    /// Creates the database with the tables, the adapter and an artist.
    pub(crate) async fn create(s: Scenario, schema: Schema) -> Self {
        let site = Self::without_adapter(s, schema).await;
        site.apply(schema.adapter()).await.unwrap();
        site
    }

    /// Creates the database with the tables and an artist.
    pub(crate) async fn without_adapter(s: Scenario, schema: Schema) -> Self {
        let (owner, name) = (unique("o"), unique("d"));
        let password = Uuid::new_v4().simple().to_string();
        let admin = s.stack.database().await.unwrap();
        // The functions' role exists in this cluster. Elsewhere the owner creates it, and so may grant it.
        let create = format!(
            "CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD '{password}';
             GRANT makapix_bdr TO {owner} WITH ADMIN OPTION"
        );
        admin.batch_execute(&create).await.unwrap();
        admin.batch_execute(&format!("CREATE DATABASE {name} OWNER {owner}")).await.unwrap();
        let (server, _) =
            s.stack.admin_database_url().split_once('@').unwrap().1.split_once('/').unwrap();
        let owner_url = format!("postgresql://{owner}:{password}@{server}/{name}?sslmode=disable");
        s.secrets.add_password(&owner_url);
        let output = psql(&s, &owner_url, schema.tables()).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

        let (database, connection) = tokio_postgres::connect(&owner_url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let (functions, _) = s.database_url.rsplit_once('/').unwrap();
        let database_url = format!("{functions}/{name}?sslmode=disable");
        let s = Scenario { database, database_url, ..s };
        let artist = member(&s.database, schema, &s.user_sqid, &s.email).await;
        Self { s, schema, artist, owner_url }
    }

    /// Runs an adapter as the owner of the tables. Returns the error of psql if it fails.
    pub(crate) async fn apply(&self, adapter: &str) -> Result<(), String> {
        let output = psql(&self.s, &self.owner_url, &format!("infra/sql/adapters/{adapter}")).await;
        let errors = String::from_utf8(output.stderr).unwrap();
        if output.status.success() {
            assert_eq!(errors, "", "a successful run is silent");
            return Ok(());
        }
        Err(errors)
    }

    /// Returns the variables that the template sets for this site.
    pub(crate) fn variables(&self) -> Vec<(&'static str, &str)> {
        match self.schema {
            Schema::PhotoGallery => vec![
                ("VAULT_URL_PREFIXES", GALLERY_URL),
                ("BASE_URL", "https://photos.example"),
                ("BRAND_NAME", "Lumen"),
                ("ARTWORK_WORDS", "photo,photos"),
                ("DOWNLOAD_NAME", "lumen-photos"),
                ("ARTWORKS_FOLDER", "photos"),
                ("ARTIST_PATH", "/members/{user}/albums?download={request}"),
            ],
            _ => vec![],
        }
    }

    /// Inserts an artwork of the artist, with its file if there is one; returns its id in requests.
    pub(crate) async fn artwork(&self, sqid: &str, file: Option<&[u8]>) -> i64 {
        let (database, key) = (&self.s.database, Uuid::new_v4());
        let shard = if sqid.len().is_multiple_of(2) { "24/07/" } else { "" };
        let key = match self.schema {
            Schema::PhotoGallery => format!("albums/{key} größe.png"),
            Schema::Makapix2026 => format!("{shard}{key}.png"),
            Schema::Specification => format!("8c/{key}.png"),
        };
        if let Some(file) = file {
            self.s.put(&key, file).await;
        }
        let row = match self.schema {
            Schema::Specification => {
                let sql = "INSERT INTO posts (owner_id, public_sqid, title, hashtags, art_url, file_format,
                                              width, height)
                           VALUES ($1::bigint, $2, 'Untitled', '{pixelart}', $3, 'png', 16, 32)
                           RETURNING id::bigint";
                database.query_one(sql, &[&self.artist, &sqid, &format!("/vault/{key}")]).await
            }
            Schema::Makapix2026 => {
                // The site's art_url is not the place of the file. The formats beside the native one are
                // derived, and not in the vault.
                let sql = "WITH post AS (
                               INSERT INTO posts (owner_id, public_sqid, title, hashtags, mod_hashtags, art_url,
                                                  storage_key, storage_shard, width, height)
                               VALUES ($1::bigint, $2, 'Untitled', '{pixelart}', '{checked}',
                                       'https://vault.example/elsewhere.png', $3::text::uuid, $4, 16, 32)
                               RETURNING id),
                           files AS (
                               INSERT INTO post_files (post_id, format, file_bytes, is_native)
                               SELECT post.id, file.format, 1, file.format = 'png'
                                 FROM post, unnest(ARRAY['gif', 'png', 'webp']) AS file (format))
                           SELECT id::bigint FROM post";
                let name = key.strip_prefix(shard).unwrap().strip_suffix(".png").unwrap();
                let shard = shard.strip_suffix('/');
                database.query_one(sql, &[&self.artist, &sqid, &name, &shard]).await
            }
            Schema::PhotoGallery => {
                let sql = "INSERT INTO photos (member_no, slug, caption, tags, file_url, pixels_x, pixels_y,
                                               taken_at)
                           VALUES ($1, $2, 'Untitled', '[\"pixelart\"]', $3, 16, 32, now())
                           RETURNING number";
                let url =
                    format!("{GALLERY_URL}{}?v=1", key.replace(' ', "%20").replace('ö', "%C3%B6"));
                database.query_one(sql, &[&self.artist, &sqid, &url]).await
            }
        };
        row.unwrap().get(0)
    }

    /// Inserts a comment of the artist. Returns whether the schema has this kind of comment.
    pub(crate) async fn comment(&self, artwork: i64, body: &str, kind: Comment) -> bool {
        let is = |other| kind == other;
        let database = &self.s.database;
        let inserted = match self.schema {
            Schema::Specification if is(Comment::DeletedByModerator) => return false,
            Schema::Specification => {
                let sql = "INSERT INTO comments (post_id, author_id, body, hidden_by_mod, deleted_by_owner)
                           VALUES ($1::bigint, $2::bigint, $3, $4, $5)";
                let (hidden, deleted) =
                    (is(Comment::HiddenByModerator), is(Comment::DeletedByAuthor));
                database.execute(sql, &[&artwork, &self.artist, &body, &hidden, &deleted]).await
            }
            Schema::Makapix2026 => {
                let sql = "INSERT INTO comments (id, post_id, author_id, body, hidden_by_mod,
                                                 deleted_by_owner, deleted_by_mod)
                           VALUES (gen_random_uuid(), $1::bigint, $2::bigint, $3, $4, $5, $6)";
                let hidden = is(Comment::HiddenByModerator);
                let deleted = (is(Comment::DeletedByAuthor), is(Comment::DeletedByModerator));
                let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
                    [&artwork, &self.artist, &body, &hidden, &deleted.0, &deleted.1];
                database.execute(sql, &values).await
            }
            Schema::PhotoGallery => {
                let sql = "INSERT INTO remarks (photo_id, member_no, remark, visibility)
                           SELECT p.id, $2, $3, $4 FROM photos AS p WHERE p.number = $1";
                let visibility = match kind {
                    Comment::Visible => "public",
                    Comment::HiddenByModerator | Comment::DeletedByModerator => "moderated",
                    Comment::DeletedByAuthor => "withdrawn",
                };
                database.execute(sql, &[&artwork, &self.artist, &body, &visibility]).await
            }
        };
        inserted.unwrap() == 1
    }

    /// Inserts two reactions; returns their emoji.
    pub(crate) async fn react(&self, artwork: i64) -> &'static str {
        let database = &self.s.database;
        if self.schema != Schema::PhotoGallery {
            let id = i32::try_from(artwork).unwrap();
            seed::react(database, id, "🔥", 2).await.unwrap();
            return "🔥";
        }
        for _ in 0..2 {
            let name = unique("m");
            let member = member(database, self.schema, &name, &format!("{name}@example.org")).await;
            let sql = "INSERT INTO likes (photo_id, member_no)
                       SELECT p.id, $2 FROM photos AS p WHERE p.number = $1";
            database.execute(sql, &[&artwork, &member]).await.unwrap();
        }
        "❤️"
    }

    /// Inserts a request of the artist with everything, as the API does.
    pub(crate) async fn request(&self, artworks: &[i64]) -> Uuid {
        let id = Uuid::new_v4();
        let ids = artworks.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let sql = format!(
            "INSERT INTO batch_download_requests
                    (id, user_id, post_ids, include_comments, include_reactions, send_email, status,
                     artwork_count, created_at)
             VALUES ('{id}', {}, '{{{ids}}}', true, true, true, 'pending', {}, now())",
            self.artist,
            artworks.len()
        );
        self.s.database.batch_execute(&sql).await.unwrap();
        id
    }

    /// Starts `process-bdr-job` in this process, as configured for this site.
    pub(crate) async fn worker(&self) -> bdr_tests::Worker {
        self.s.worker(&self.variables()).await
    }
}

async fn member(database: &Client, schema: Schema, sqid: &str, email: &str) -> i64 {
    let sql = match schema {
        Schema::PhotoGallery => {
            "INSERT INTO members (name, mail, profile) VALUES ($1, $3, $2) RETURNING member_no"
        }
        _ => {
            "INSERT INTO users (handle, email, public_sqid) VALUES ($1, $3, $2) RETURNING id::bigint"
        }
    };
    let handle = format!("artist {sqid}");
    database.query_one(sql, &[&handle, &sqid, &email]).await.unwrap().get(0)
}

/// Runs a file of this repository with psql.
async fn psql(s: &Scenario, url: &str, file: &str) -> Output {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut command = tokio::process::Command::new(s.stack.psql_command());
    command.args(["-X", "-q", "-f"]).arg(file).arg(url).current_dir(root);
    command.output().await.unwrap()
}
