//! A trial: one request with its own artist, queue and proxies, processed by worker processes.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::body::Bytes;
use bdr_tests::lambda::{Deliveries, Deployed, Ending, EventSource, InFlight, TestQueue};
use bdr_tests::proxy::{DatabaseWire, Fault, Files, HttpProxy, Script, Target};
use bdr_tests::scenario::unique;
use bdr_tests::web::PIXELS;
use bdr_tests::{Artwork, Scenario, ZipFile};
use local_stack::{seed, wait_until};
use uuid::Uuid;

/// Maximum duration of a trial. Generous, because it only ends a trial that has failed.
const PATIENCE: Duration = Duration::from_mins(3);
/// Visibility timeout of the queue, which applies until a worker sets its lease; 960 s in the
/// template.
const VISIBILITY: Duration = Duration::from_secs(5);
/// `LEASE_SECONDS`.
const LEASE: &str = "1";

/// Size of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// One `PutObject`.
    Small,
    /// A multipart upload of two parts.
    Large,
    /// [`MANY`] artworks, one of them as large as a part. The proxies serve their files.
    Many,
}

/// Artworks of a request of [`Size::Many`], without the one on the web.
pub(super) const MANY: usize = 300;

/// The artworks, comments and reactions that the trials of a scenario share.
pub(super) struct Stage {
    pub(super) s: Scenario,
    pub(super) deployed: Deployed,
    posts: Vec<i32>,
    files: Vec<(String, Bytes)>,
    served: Files,
    /// `RETRY_BASE_SECONDS`; 0 unless a scenario sets another.
    retry_base: u32,
}

/// A request with its own artist and queue.
pub(super) struct Trial<'a> {
    pub(super) stage: &'a Stage,
    pub(super) bdr_id: Uuid,
    pub(super) user_sqid: String,
    pub(super) queue: TestQueue,
    post_ids: Vec<i32>,
    files: Vec<(String, Bytes)>,
    remote_file: String,
    /// Authority of the web host: the proxy of the first worker.
    web: OnceLock<String>,
}

/// A worker with its proxies and processes.
pub(super) struct TrialWorker<'a> {
    pub(super) script: Arc<Script>,
    pub(super) source: EventSource<'a>,
    _http: HttpProxy,
    _postgres: DatabaseWire,
}

impl Stage {
    pub(super) async fn set(s: Scenario, size: Size) -> Self {
        let deployed = Deployed::process_bdr_job(s.stack).await.unwrap();
        let mut stage = Self {
            s,
            deployed,
            posts: Vec::new(),
            files: Vec::new(),
            served: Files::default(),
            retry_base: 0,
        };
        // Two parts, because a part is 5 MiB.
        let large = || noise(5_500_000);
        if size == Size::Many {
            stage.add_many(large()).await;
        } else {
            stage.add("first", noise(10_000)).await;
            if size == Size::Large {
                stage.add("large", large()).await;
            }
            stage.add("last", noise(20_000)).await;
        }
        let comment = seed::Comment {
            post_id: stage.posts[0],
            author_id: None,
            body: "It survived.".to_owned(),
            hidden_by_mod: false,
            deleted_by_owner: false,
            created_at: time::macros::datetime!(2025-05-06 9:00 UTC),
        };
        comment.insert(&stage.s.database).await.unwrap();
        seed::react(&stage.s.database, stage.posts[0], "\u{1f525}", 3).await.unwrap();
        stage
    }

    /// Sets `RETRY_BASE_SECONDS`.
    pub(super) fn with_retry_base(self, seconds: u32) -> Self {
        Self { retry_base: seconds, ..self }
    }

    async fn add(&mut self, title: &str, file: Vec<u8>) {
        let sqid = unique("a");
        let artwork =
            Artwork { sqid: Some(sqid.clone()), title, file: Some(&file), ..Artwork::default() };
        self.posts.push(self.s.artwork(artwork).await);
        self.files.push((format!("artworks/{sqid}.png"), file.into()));
    }

    /// Adds [`MANY`] artworks with files that the proxies serve.
    async fn add_many(&mut self, large: Vec<u8>) {
        let mut served = HashMap::new();
        for number in 0..MANY {
            let sqid = unique("a");
            let file =
                Bytes::from(if number == MANY / 3 { large.clone() } else { noise(500 + number) });
            let art_url = Some(Some(format!("/vault/{sqid}.png")));
            let artwork =
                Artwork { sqid: Some(sqid.clone()), file: None, art_url, ..Artwork::default() };
            self.posts.push(self.s.artwork(artwork).await);
            self.files.push((format!("artworks/{sqid}.png"), file.clone()));
            served.insert(format!("/{}/{sqid}.png", self.s.bucket()), file);
        }
        self.served = served.into();
    }

    /// Inserts a request of a new artist for all artworks and one on the web, with all options.
    pub(super) async fn trial(&self) -> Trial<'_> {
        let user_sqid = unique("u");
        let user = seed::User {
            handle: user_sqid.clone(),
            email: email_of(&user_sqid),
            public_sqid: Some(user_sqid.clone()),
        };
        let user_id = user.insert(&self.s.database).await.unwrap();
        let queue = TestQueue::create(self.s.sqs.clone(), &user_sqid, VISIBILITY).await.unwrap();

        // The first worker replaces this URL by its proxy's.
        let art_url = Some(Some("http://127.0.0.1/".to_owned()));
        let sqid = unique("a");
        let remote =
            Artwork { sqid: Some(sqid.clone()), file: None, art_url, ..Artwork::default() };
        let mut post_ids = self.posts.clone();
        post_ids.push(self.s.artwork(remote).await);
        let mut files = self.files.clone();
        let remote_file = format!("/{user_sqid}.png");
        files.push((format!("artworks/{sqid}.png"), Bytes::from_static(PIXELS)));
        self.s.remote.put(&remote_file, "image/png", PIXELS.to_vec());
        let request = seed::Request {
            user_id,
            post_ids: post_ids.clone(),
            include_comments: true,
            include_reactions: true,
            send_email: true,
        };
        let bdr_id = request.insert(&self.s.database).await.unwrap();
        Trial {
            stage: self,
            bdr_id,
            user_sqid,
            queue,
            post_ids,
            files,
            remote_file,
            web: OnceLock::new(),
        }
    }
}

impl<'a> Trial<'a> {
    /// Returns a worker whose calls have these faults.
    pub(super) async fn worker(&self, planned: Vec<(Target, Fault)>) -> TrialWorker<'a> {
        self.worker_with(Arc::new(Script::new(planned))).await
    }

    /// Returns a worker whose calls have the faults of this script, which workers may share.
    pub(super) async fn worker_with(&self, script: Arc<Script>) -> TrialWorker<'a> {
        let stack = self.stage.s.stack;
        let web = self.stage.s.remote.url("");
        let files = Arc::clone(&self.stage.served);
        let http = HttpProxy::start_with_files(Arc::clone(&script), stack.endpoint(), &web, files);
        let http = http.await.unwrap();
        let postgres =
            DatabaseWire::start(Arc::clone(&script), &self.stage.s.database_url).await.unwrap();
        if self.web.set(http.authority()).is_ok() {
            let relocate = "UPDATE posts SET art_url = $2 WHERE id = $1";
            let url = http.web_url(&self.remote_file);
            let post_id = self.post_ids.last().unwrap();
            self.stage.s.database.execute(relocate, &[post_id, &url]).await.unwrap();
        }
        let changed = vec![
            ("AWS_ENDPOINT_URL", http.endpoint()),
            ("BDR_QUEUE_URL", self.queue.url().to_owned()),
            ("DATABASE_URL", postgres.url().to_owned()),
            ("REMOTE_ALLOW_HOSTS", self.web.get().unwrap().clone()),
            ("LEASE_SECONDS", LEASE.to_owned()),
            ("RETRY_BASE_SECONDS", self.stage.retry_base.to_string()),
        ];
        let mut source = EventSource::new(&self.stage.deployed, changed, self.directory());
        let aimed = Arc::clone(&script);
        source.begin = Box::new(move |killer, _| aimed.aim(killer));
        TrialWorker { script, source, _http: http, _postgres: postgres }
    }

    /// Creates a directory for the logs of one worker.
    fn directory(&self) -> PathBuf {
        let name = format!("{}-{}", self.user_sqid, Uuid::new_v4());
        let directory = self.stage.s.stack.scratch_directory().join(name);
        fs::create_dir(&directory).unwrap();
        directory
    }

    /// Inserts another artist's request for the artworks in the vault.
    pub(super) async fn neighbour(&self) -> Uuid {
        self.stage.s.request(&self.stage.posts).await
    }

    /// Returns the number of e-mails sent to the artist.
    pub(super) async fn emails(&self) -> usize {
        let address = email_of(&self.user_sqid);
        emails(&self.stage.s).await.into_iter().filter(|to| *to == address).count()
    }

    /// Returns the number of open multipart uploads of this request.
    pub(super) async fn open_uploads(&self) -> usize {
        let key = self.key();
        open_uploads(&self.stage.s).await.into_iter().filter(|open| *open == key).count()
    }

    /// Returns the key of the ZIP.
    pub(super) fn key(&self) -> String {
        format!("bdr/{}/{}.zip", self.user_sqid, self.bdr_id)
    }

    /// Checks that the request is ready, with its ZIP and without a message. Returns the number of
    /// missing artworks. It does not check [`open_uploads`] and [`emails`], which list those of all
    /// trials.
    pub(super) async fn check(&self) -> Result<usize> {
        let row = self.stage.s.row(self.bdr_id).await;
        ensure!(row["status"] == "ready", "the row is not ready: {row}");
        let s3 = &self.stage.s.s3;
        let prefix = format!("bdr/{}/", self.user_sqid);
        let listed = s3.list_objects_v2().bucket(self.stage.s.bucket()).prefix(prefix);
        let listed = listed.send().await?;
        let keys: Vec<_> = listed.contents().iter().filter_map(|object| object.key()).collect();
        ensure!(keys == [self.key()], "the vault has {keys:?}");
        ensure!(row["file_path"] == self.key(), "the row names another object: {row}");

        let object = s3.get_object().bucket(self.stage.s.bucket()).key(self.key()).send().await?;
        // Not `AggregatedBytes::to_vec`, which copies byte by byte: 14 s in a debug build.
        let zip = ZipFile { bytes: object.body.collect().await?.into_bytes().into() };
        ensure!(row["file_size_bytes"] == zip.bytes.len(), "the row has another size: {row}");
        let missing = self.check_content(&zip)?;
        ensure!(self.queue.len().await? == 0, "a message is left");
        ensure!(self.queue.dead_letters().await? == 0, "the message is in the dead-letter queue");
        Ok(missing)
    }

    fn check_content(&self, zip: &ZipFile) -> Result<usize> {
        let metadata = zip.json("metadata.json");
        let missing = metadata["missing_artworks"].as_array().context("no missing_artworks")?.len();
        let contents = zip.contents();
        let (mut present, mut absent) = (0, 0);
        for (name, file) in &self.files {
            if let Some(content) = contents.get(name) {
                ensure!(content == file, "{name} differs");
                present += 1;
            } else {
                absent += 1;
            }
        }
        ensure!(absent == missing, "metadata.json lists {missing} of {absent} missing artworks");
        ensure!(metadata["artwork_count"] == present, "metadata.json has another artwork_count");
        let documents = if missing > 0 { 6 } else { 5 };
        let names = contents.keys();
        ensure!(names.len() == present + documents, "the ZIP has other entries: {names:?}");
        ensure!(contents.contains_key("MISSING.txt") == (missing > 0), "MISSING.txt: {missing}");
        ensure!(zip.json("comments.json").to_string().contains("It survived."), "no comment");
        ensure!(zip.json("reactions.json").to_string().contains('\u{1f525}'), "no reaction");
        Ok(missing)
    }
}

impl TrialWorker<'_> {
    /// Delivers the next message.
    pub(super) async fn deliver(&mut self, queue: &TestQueue) -> Ending {
        wait_until("a message", PATIENCE, async || self.source.deliver(queue).await).await.unwrap()
    }

    /// Delivers a received message.
    pub(super) async fn process(&mut self, queue: &TestQueue, message: &InFlight) -> Ending {
        self.source.process(queue, message).await.unwrap()
    }

    /// Delivers the messages of the trial's queue until it is empty.
    pub(super) async fn drain(&mut self, queue: &TestQueue) -> Result<Deliveries> {
        let deliveries = self.source.drain(queue, PATIENCE).await?;
        self.check_log()?;
        Ok(deliveries)
    }

    /// Checks that the log has no panic.
    pub(super) fn check_log(&self) -> Result<()> {
        let log = self.source.log();
        ensure!(!log.contains("panic"), "a panic was logged:\n{log}");
        Ok(())
    }

    /// Returns the `result` of every attempt.
    pub(super) fn results(&self) -> Vec<String> {
        let lines = self.source.log_lines();
        lines.iter().filter_map(|line| Some(line["result"].as_str()?.to_owned())).collect()
    }
}

/// Returns the keys under `bdr/` with an open multipart upload, once per upload.
pub(super) async fn open_uploads(s: &Scenario) -> Vec<String> {
    let mut keys = Vec::new();
    let (mut key, mut id) = (None, None);
    loop {
        let page = s.s3.list_multipart_uploads().bucket(s.bucket()).prefix("bdr/");
        let page = page.set_key_marker(key.take()).set_upload_id_marker(id.take());
        let page = page.send().await.unwrap();
        keys.extend(page.uploads().iter().filter_map(|upload| upload.key().map(str::to_owned)));
        if page.is_truncated() != Some(true) {
            return keys;
        }
        (key, id) = (page.next_key_marker, page.next_upload_id_marker);
    }
}

/// Returns the recipients of all e-mails, once per e-mail.
pub(super) async fn emails(s: &Scenario) -> Vec<String> {
    let sent = s.stack.sent_emails().await.unwrap();
    sent.into_iter().flat_map(|email| email.to).collect()
}

/// Returns the address of the artist with this public id.
pub(super) fn email_of(user_sqid: &str) -> String {
    format!("{user_sqid}@example.org")
}

/// Returns incompressible bytes, the same ones in every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
