//! One scenario: an artist of its own on the stack that all scenarios share.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Result;
use aws_config::SdkConfig;
use local_stack::remote::RemoteHost;
use local_stack::{LocalStack, Options, seed, wait_until};
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::archive::ZipFile;
use crate::log::Log;
use crate::privacy::Secrets;
use crate::web::{self, Visits};

/// Longest wait for the deployed function. Generous, because it only ends a scenario that has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// An artist, and what a scenario needs to play the API.
pub struct Scenario {
    /// The stack.
    pub stack: &'static LocalStack,
    /// The web server from which the deployed function may fetch artworks.
    pub remote: &'static RemoteHost,
    /// The database with all rights, as the API has them.
    pub database: Client,
    /// The URL of the database with the functions' rights.
    pub database_url: String,
    /// The vault's bucket.
    pub bucket: String,
    /// A client for the vault.
    pub s3: aws_sdk_s3::Client,
    /// The configuration of the AWS clients of functions in this process.
    pub aws: SdkConfig,
    /// A client for the queues.
    pub sqs: aws_sdk_sqs::Client,
    /// The log of the functions in this process.
    pub log: Log,
    /// What no log may contain. The logs are searched when the scenario has ended.
    pub secrets: Secrets,
    /// `users.id` of the artist.
    pub user_id: i32,
    /// `users.public_sqid` of the artist.
    pub user_sqid: String,
    /// `users.email` of the artist.
    pub email: String,
}

/// An artwork to insert. A scenario sets the fields that matter to it.
#[derive(Clone)]
pub struct Artwork<'a> {
    /// `posts.public_sqid`, which is unique in the database; random by default.
    pub sqid: Option<String>,
    /// `posts.title`.
    pub title: &'a str,
    /// `posts.file_format`.
    pub file_format: Option<&'a str>,
    /// The file in the vault, if it exists.
    pub file: Option<&'a [u8]>,
    /// `posts.art_url`; by default the place of `file`, existing or not.
    pub art_url: Option<Option<String>>,
    /// `posts.created_at`.
    pub created_at: OffsetDateTime,
}

impl Default for Artwork<'_> {
    fn default() -> Self {
        Self {
            sqid: Some(unique("a")),
            title: "Untitled",
            file_format: Some("png"),
            file: Some(b"pixels"),
            art_url: None,
            created_at: datetime!(2025-03-04 05:06:08 UTC),
        }
    }
}

/// Runs a scenario that shares database and vault with others and with the deployed functions.
pub fn scenario(test: impl AsyncFnOnce(Scenario)) {
    run(test, async |stack| {
        let bucket = stack.bucket().unwrap().to_owned();
        (stack.database().await.unwrap(), stack.database_url().to_owned(), bucket)
    });
}

/// Runs a scenario with a database and a vault of its own, in which it may count everything.
pub fn scenario_apart(test: impl AsyncFnOnce(Scenario)) {
    run(test, async |stack| {
        let name = unique("d");
        let create = format!("CREATE DATABASE {name}");
        stack.database().await.unwrap().batch_execute(&create).await.unwrap();
        let admin_url = in_database(stack.admin_database_url(), &name);
        let (admin, connection) = tokio_postgres::connect(&admin_url, NoTls).await.unwrap();
        tokio::spawn(connection);
        admin.batch_execute(include_str!("../../infra/sql/schema.sql")).await.unwrap();
        let adapter = include_str!("../../infra/sql/adapters/specification.sql");
        admin.batch_execute(&local_stack::without_psql_commands(adapter)).await.unwrap();
        stack.s3().create_bucket().bucket(&name).send().await.unwrap();
        (admin, in_database(stack.database_url(), &name), name)
    });
}

/// Returns the URL with another database's name, and like `url` without TLS, which the server lacks.
fn in_database(url: &str, name: &str) -> String {
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}?sslmode=disable")
}

fn run(
    test: impl AsyncFnOnce(Scenario),
    surroundings: impl AsyncFnOnce(&'static LocalStack) -> (Client, String, String),
) {
    let (stack, remote) = stack();
    let (log, _guard) = Log::catch();
    // One thread, because the log collects what this thread logs.
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (database, database_url, bucket) = surroundings(stack).await;
        let user_sqid = unique("u");
        let email = format!("{user_sqid}@example.org");
        let user = seed::User {
            handle: format!("artist {user_sqid}"),
            email: email.clone(),
            public_sqid: Some(user_sqid.clone()),
        };
        let user_id = user.insert(&database).await.unwrap();
        let secrets = Secrets::default();
        let [.., (_, secret_key), _] = stack.environment();
        secrets.add(secret_key);
        secrets.add(&email);
        secrets.add_password(&database_url);
        secrets.add_password(stack.admin_database_url());
        let scenario = Scenario {
            stack,
            remote,
            database,
            database_url,
            bucket,
            s3: stack.s3(),
            aws: stack.sdk_config(),
            sqs: stack.sqs(),
            log: log.clone(),
            secrets: secrets.clone(),
            user_id,
            user_sqid,
            email,
        };
        test(scenario).await;
        secrets.look_for_leaks(log.text().lines());
        secrets.look_for_leaks_of_functions(stack).await;
    });
}

/// Returns the stack of this process, which the first scenario starts.
fn stack() -> (&'static LocalStack, &'static RemoteHost) {
    static STACK: OnceLock<(LocalStack, RemoteHost, Runtime)> = OnceLock::new();
    let (stack, remote, _) = STACK.get_or_init(|| {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let remote = RemoteHost::with_routes(web::routes(Visits::default())).unwrap();
        let options = Options::default()
            // The lowest level that the template allows, so that every message is searched for secrets.
            .parameter("LogLevel", "DEBUG")
            .parameter("LeaseSeconds", 3)
            .parameter("RetryBaseSeconds", 2)
            .parameter("RemoteAllowHosts", remote.authority());
        let stack = runtime.block_on(LocalStack::start(options)).unwrap();
        (stack, remote, runtime)
    });
    (stack, remote)
}

/// Returns a public id that is unique.
#[must_use]
pub fn unique(prefix: &str) -> String {
    format!("{prefix}{}", &Uuid::new_v4().simple().to_string()[..11])
}

impl Scenario {
    /// Inserts an artwork into the database and puts its file into the vault; returns `posts.id`.
    pub async fn artwork(&self, artwork: Artwork<'_>) -> i32 {
        let key = format!("{}/{}", self.user_sqid, unique("f"));
        if let Some(file) = artwork.file {
            self.put(&key, file).await;
        }
        let post = seed::Post {
            owner_id: self.user_id,
            public_sqid: artwork.sqid,
            title: artwork.title.to_owned(),
            description: Some("Drawn for a scenario.".to_owned()),
            hashtags: vec!["pixelart".to_owned(), "größe".to_owned()],
            art_url: artwork.art_url.unwrap_or_else(|| Some(format!("/vault/{key}"))),
            file_format: artwork.file_format.map(str::to_owned),
            width: 16,
            height: 32,
            frame_count: 1,
            created_at: artwork.created_at,
        };
        post.insert(&self.database).await.unwrap()
    }

    /// Puts an object into the vault.
    pub async fn put(&self, key: &str, bytes: &[u8]) {
        seed::put_artwork(&self.s3, self.bucket(), key, bytes.to_vec()).await.unwrap();
    }

    /// Inserts a request of the artist for these posts, with an e-mail; returns its id.
    pub async fn request(&self, post_ids: &[i32]) -> Uuid {
        let request = seed::Request {
            user_id: self.user_id,
            post_ids: post_ids.to_vec(),
            send_email: true,
            ..seed::Request::default()
        };
        request.insert(&self.database).await.unwrap()
    }

    /// Returns the vault's bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Returns the URL of the scenario's database with all rights.
    #[must_use]
    pub fn admin_database_url(&self) -> String {
        let (_, name) = self.database_url.rsplit_once('/').unwrap();
        let name = name.trim_end_matches("?sslmode=disable");
        in_database(self.stack.admin_database_url(), name)
    }

    /// Publishes a request to the deployed function.
    pub async fn publish(&self, bdr_id: Uuid) {
        seed::publish(&self.sqs, self.stack.queue_url().unwrap(), bdr_id).await.unwrap();
        self.secrets.look_at_log_of(bdr_id);
    }

    /// Waits until the request's row has this status; returns the row.
    pub async fn wait_for(&self, bdr_id: Uuid, status: &str) -> Value {
        wait_until(&format!("request {bdr_id} becoming {status}"), PATIENCE, async || {
            let row = self.row(bdr_id).await;
            Ok((row["status"] == status).then_some(row))
        })
        .await
        .unwrap()
    }

    /// Waits until `look` returns something; returns that.
    pub async fn wait<T>(&self, what: &str, look: impl AsyncFnMut() -> Result<Option<T>>) -> T {
        wait_until(what, PATIENCE, look).await.unwrap()
    }

    /// Returns the request's row, with times as RFC 3339 text.
    pub async fn row(&self, bdr_id: Uuid) -> Value {
        let query = "SELECT to_jsonb(r)::text FROM batch_download_requests AS r WHERE r.id = $1";
        let row = self.database.query_one(query, &[&bdr_id]).await.unwrap();
        serde_json::from_str(row.get(0)).unwrap()
    }

    /// Updates a request's row; `assignments` follow `SET`.
    pub async fn set(&self, bdr_id: Uuid, assignments: &str) {
        let sql = format!("UPDATE batch_download_requests SET {assignments} WHERE id = '{bdr_id}'");
        assert_eq!(self.database.execute(&sql, &[]).await.unwrap(), 1);
    }

    /// Returns the key of the request's ZIP.
    #[must_use]
    pub fn archive_key(&self, bdr_id: Uuid) -> String {
        format!("bdr/{}/{bdr_id}.zip", self.user_sqid)
    }

    /// Returns the request's ZIP, if it exists in the vault.
    pub async fn archive(&self, bdr_id: Uuid) -> Option<ZipFile> {
        let key = self.archive_key(bdr_id);
        let answer = self.s3.get_object().bucket(self.bucket()).key(key).send().await.ok()?;
        Some(ZipFile { bytes: answer.body.collect().await.unwrap().to_vec() })
    }

    /// Returns the number of the artist's multipart uploads that are neither completed nor aborted.
    pub async fn open_uploads(&self) -> usize {
        let answer = self.s3.list_multipart_uploads().bucket(self.bucket()).send().await.unwrap();
        let prefix = format!("bdr/{}/", self.user_sqid);
        answer.uploads().iter().filter(|u| u.key().is_some_and(|k| k.starts_with(&prefix))).count()
    }

    /// Returns the e-mails sent to the artist.
    pub async fn emails(&self) -> Vec<local_stack::SentEmail> {
        let mut emails = self.stack.sent_emails().await.unwrap();
        emails.retain(|email| email.to.contains(&self.email));
        emails
    }

    /// Returns the body of the message for a request.
    #[must_use]
    pub fn message(bdr_id: Uuid) -> String {
        seed::message(bdr_id)
    }
}
