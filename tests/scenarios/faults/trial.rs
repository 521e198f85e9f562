//! A trial: one request, with an artist, a queue and proxies of its own, on its way through worker
//! processes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bdr_tests::lambda::{Deliveries, Deployed, Ending, EventSource, InFlight, TestQueue};
use bdr_tests::proxy::{DatabaseWire, Fault, HttpProxy, Script, Target};
use bdr_tests::scenario::unique;
use bdr_tests::web::PIXELS;
use bdr_tests::{Artwork, Scenario, ZipFile};
use local_stack::{seed, wait_until};
use uuid::Uuid;

/// Longest trial. Generous: it only ends one that has failed.
const PATIENCE: Duration = Duration::from_secs(90);
/// For how long a message is invisible whose worker died before it took its lease; 960 s in the
/// template.
const VISIBILITY: Duration = Duration::from_secs(5);
/// `LEASE_SECONDS`.
const LEASE: &str = "1";

/// How large the ZIPs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// One `PutObject`.
    Small,
    /// Two parts.
    Large,
}

/// What the trials of a scenario share: the artworks in the vault, and what was said about them.
pub(super) struct Stage {
    pub(super) s: Scenario,
    pub(super) deployed: Deployed,
    posts: Vec<i32>,
    files: Vec<(String, Vec<u8>)>,
}

/// A request, and what surrounds it.
pub(super) struct Trial<'a> {
    pub(super) stage: &'a Stage,
    pub(super) bdr_id: Uuid,
    pub(super) user_sqid: String,
    pub(super) queue: TestQueue,
    post_ids: Vec<i32>,
    files: Vec<(String, Vec<u8>)>,
    remote_file: String,
    /// Where the web host is to be had: behind the proxy of the first worker.
    web: OnceLock<String>,
}

/// A worker's surroundings: its proxies, and its processes.
pub(super) struct Worker<'a> {
    pub(super) script: Arc<Script>,
    pub(super) source: EventSource<'a>,
    _http: HttpProxy,
    _postgres: DatabaseWire,
}

impl Stage {
    pub(super) async fn set(s: Scenario, size: Size) -> Self {
        let deployed = Deployed::process_bdr_job(s.stack).await.unwrap();
        let mut stage = Self { s, deployed, posts: Vec::new(), files: Vec::new() };
        stage.add("first", noise(10_000)).await;
        if size == Size::Large {
            // As a part is 8 MiB, two of them.
            stage.add("large", noise(8_500_000)).await;
        }
        stage.add("last", noise(20_000)).await;
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

    async fn add(&mut self, title: &str, file: Vec<u8>) {
        let sqid = unique("a");
        let artwork =
            Artwork { sqid: Some(sqid.clone()), title, file: Some(&file), ..Artwork::default() };
        self.posts.push(self.s.artwork(artwork).await);
        self.files.push((format!("artworks/{sqid}.png"), file));
    }

    /// A new request of a new artist: all artworks, one more on the web, and everything else.
    pub(super) async fn trial(&self) -> Trial<'_> {
        let user_sqid = unique("u");
        let user = seed::User {
            handle: user_sqid.clone(),
            email: email_of(&user_sqid),
            public_sqid: Some(user_sqid.clone()),
        };
        let user_id = user.insert(&self.s.database).await.unwrap();
        let queue = TestQueue::create(self.s.sqs.clone(), &user_sqid, VISIBILITY).await.unwrap();

        // Its URL comes with the first worker.
        let art_url = Some(Some("http://127.0.0.1/".to_owned()));
        let sqid = unique("a");
        let remote =
            Artwork { sqid: Some(sqid.clone()), file: None, art_url, ..Artwork::default() };
        let mut post_ids = self.posts.clone();
        post_ids.push(self.s.artwork(remote).await);
        let mut files = self.files.clone();
        let remote_file = format!("/{user_sqid}.png");
        files.push((format!("artworks/{sqid}.png"), PIXELS.to_vec()));
        self.s.remote.put(&remote_file, "image/png", files.last().unwrap().1.clone());
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
    /// A worker that suffers these faults.
    pub(super) async fn worker(&self, planned: Vec<(Target, Fault)>) -> Worker<'a> {
        let stack = self.stage.s.stack;
        let script = Arc::new(Script::new(planned));
        let web = self.stage.s.remote.url("");
        let http = HttpProxy::start(Arc::clone(&script), stack.endpoint(), &web).await.unwrap();
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
            ("RETRY_BASE_SECONDS", "0".to_owned()),
        ];
        let mut source = EventSource::new(&self.stage.deployed, changed, self.directory());
        let aimed = Arc::clone(&script);
        source.begin = Box::new(move |killer, _| aimed.aim(killer));
        Worker { script, source, _http: http, _postgres: postgres }
    }

    /// A directory for the logs of one worker.
    fn directory(&self) -> PathBuf {
        let name = format!("{}-{}", self.user_sqid, Uuid::new_v4());
        let directory = self.stage.s.stack.scratch_directory().join(name);
        fs::create_dir(&directory).unwrap();
        directory
    }

    /// Another artist's request for the artworks in the vault.
    pub(super) async fn neighbour(&self) -> Uuid {
        self.stage.s.request(&self.stage.posts).await
    }

    /// The e-mails sent to the artist.
    pub(super) async fn emails(&self) -> usize {
        let address = email_of(&self.user_sqid);
        emails(&self.stage.s).await.into_iter().filter(|to| *to == address).count()
    }

    /// The multipart uploads of this request that were begun and not ended.
    pub(super) async fn left_uploads(&self) -> usize {
        let key = self.key();
        left_uploads(&self.stage.s).await.into_iter().filter(|left| *left == key).count()
    }

    /// Where the ZIP belongs.
    pub(super) fn key(&self) -> String {
        format!("bdr/{}/{}.zip", self.user_sqid, self.bdr_id)
    }

    /// That the request has come to its good end, but for what is looked at for all trials at once
    /// ([`left_uploads`], [`emails`]); returns how many artworks the ZIP lacks.
    pub(super) async fn check(&self) -> Result<usize> {
        let row = self.stage.s.row(self.bdr_id).await;
        ensure!(row["status"] == "ready", "the row is not ready: {row}");
        let s3 = &self.stage.s.s3;
        let prefix = format!("bdr/{}/", self.user_sqid);
        let listed = s3.list_objects_v2().bucket(self.stage.s.bucket()).prefix(prefix);
        let listed = listed.send().await?;
        let keys: Vec<_> = listed.contents().iter().filter_map(|object| object.key()).collect();
        ensure!(keys == [self.key()], "in the vault stand {keys:?}");
        ensure!(row["file_path"] == self.key(), "the row names another object: {row}");

        let object = s3.get_object().bucket(self.stage.s.bucket()).key(self.key()).send().await?;
        let zip = ZipFile { bytes: object.body.collect().await?.to_vec() };
        ensure!(row["file_size_bytes"] == zip.bytes.len(), "the row has another size: {row}");
        let missing = self.check_content(&zip)?;
        ensure!(self.queue.len().await? == 0, "a message is left");
        ensure!(self.queue.dead_letters().await? == 0, "the message is in the dead-letter queue");
        Ok(missing)
    }

    fn check_content(&self, zip: &ZipFile) -> Result<usize> {
        let metadata = zip.json("metadata.json");
        let missing = metadata["missing_artworks"].as_array().context("no missing_artworks")?.len();
        let names: BTreeSet<String> = zip.names().into_iter().collect();
        let (mut there, mut lacking) = (0, 0);
        for (name, file) in &self.files {
            if names.contains(name) {
                ensure!(zip.content(name) == *file, "{name} differs");
                there += 1;
            } else {
                lacking += 1;
            }
        }
        ensure!(lacking == missing, "metadata.json lists {missing} of {lacking} missing artworks");
        ensure!(metadata["artwork_count"] == there, "metadata.json counts other artworks");
        ensure!(names.len() == there + 3, "other entries are there: {names:?}");
        ensure!(zip.json("comments.json").to_string().contains("It survived."), "no comment");
        ensure!(zip.json("reactions.json").to_string().contains('\u{1f525}'), "no reaction");
        Ok(missing)
    }
}

impl Worker<'_> {
    /// Delivers the next message.
    pub(super) async fn deliver(&mut self, queue: &TestQueue) -> Ending {
        wait_until("a message being received", PATIENCE, async || self.source.deliver(queue).await)
            .await
            .unwrap()
    }

    /// Delivers a message that was received.
    pub(super) async fn process(&mut self, queue: &TestQueue, message: &InFlight) -> Ending {
        self.source.process(queue, message).await.unwrap()
    }

    /// Delivers the messages of the trial's queue until there are none.
    pub(super) async fn drain(&mut self, queue: &TestQueue) -> Result<Deliveries> {
        let deliveries = self.source.drain(queue, PATIENCE).await?;
        self.check_log()?;
        Ok(deliveries)
    }

    /// That no code of ours has panicked.
    pub(super) fn check_log(&self) -> Result<()> {
        let log = self.source.log();
        ensure!(!log.contains("panic"), "a panic was logged:\n{log}");
        Ok(())
    }

    /// The `result` of every attempt.
    pub(super) fn results(&self) -> Vec<String> {
        let lines = self.source.log_lines();
        lines.iter().filter_map(|line| Some(line["result"].as_str()?.to_owned())).collect()
    }
}

/// Keys under `bdr/` to which a multipart upload was begun and not ended.
pub(super) async fn left_uploads(s: &Scenario) -> Vec<String> {
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

/// The addresses to which e-mails were sent, each as often as one was.
pub(super) async fn emails(s: &Scenario) -> Vec<String> {
    let sent = s.stack.sent_emails().await.unwrap();
    sent.into_iter().flat_map(|email| email.to).collect()
}

/// The address of the artist with this public id.
pub(super) fn email_of(user_sqid: &str) -> String {
    format!("{user_sqid}@example.org")
}

/// Bytes that no compression makes shorter, the same every time.
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
