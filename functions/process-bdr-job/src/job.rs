//! The unit of work: one attempt at one request, from the claim to the e-mail, and the settling of
//! whatever came.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use shared::clock::Clock;
use shared::database::{Database, DatabaseError};
use shared::failure::{Decision, Failure, chain};
use shared::request::{Change, Claim, Claimed, Requests};
use shared::sqid::SqidSource;
use shared::vault::{ArchiveKey, Finished, Upload, Vault};
use time::OffsetDateTime;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::archive::{Archive, Packing};
use crate::artwork::{Fetcher, Missing, Plan, plan};
use crate::attempt::{Attempt, Disposition};
use crate::documents::{self, Metadata};
use crate::email::ReadyEmail;
use crate::gather::{Gathered, Post, gather, without_duplicates};
use crate::notify::{EmailOutcome, Notifier};

/// What the job works with.
pub struct Job {
    /// The database, for the artist, posts, comments and reactions.
    pub database: Arc<Database>,
    /// The rows of the requests.
    pub requests: Requests,
    /// The vault, for the ZIP.
    pub vault: Vault,
    /// For the artworks' files.
    pub fetcher: Fetcher,
    /// For the e-mail.
    pub notifier: Notifier,
    /// For public ids that are not stored.
    pub sqids: SqidSource,
    /// For generated-at stamps and the age of a ZIP found in the vault.
    pub clock: Clock,
    /// `BASE_URL`.
    pub base_url: String,
    /// `EXPIRES_AFTER_DAYS`.
    pub expires_after_days: i32,
}

/// A ZIP that stands in the vault.
struct Stored {
    size_bytes: u64,
    artworks: usize,
    missing: usize,
    /// Another attempt wrote it; what is in it was not counted.
    adopted: bool,
}

/// How an attempt ended that did not fail.
enum Outcome {
    /// The row is `ready` through this attempt.
    Ready(Stored, EmailOutcome),
    /// Somebody else closed the row meanwhile.
    Closed,
    /// A newer attempt holds the row.
    Superseded,
}

impl Job {
    /// Makes one attempt at `bdr_id` and says what becomes of the message.
    pub async fn process(&self, bdr_id: Uuid, attempt: &Attempt) -> Disposition {
        let begun = Instant::now();
        tracing::info!("BDR {bdr_id}: processing started");
        let claim = match self.requests.claim(bdr_id).await {
            Ok(Claimed::Ours(claim)) => claim,
            Ok(Claimed::Closed(status)) => {
                tracing::info!(result = "skipped", ?status, "BDR {bdr_id}: already processed");
                return Disposition::Acknowledge;
            }
            Ok(Claimed::NotFound) => {
                tracing::error!(result = "not found", "BDR {bdr_id}: there is no such request");
                return Disposition::Acknowledge;
            }
            Err(error) => return unclaimed(bdr_id, error, attempt),
        };
        match self.build(&claim, attempt).await {
            Ok(outcome) => conclude(bdr_id, &outcome, begun),
            Err(failure) => self.settle(&claim, &failure, attempt, begun).await,
        }
    }

    /// Steps 2 to 7 of the job.
    async fn build(&self, claim: &Claim, attempt: &Attempt) -> Result<Outcome, Failure> {
        let gathered = Box::pin(gather(&self.database, &self.sqids, claim)).await?;
        let key = ArchiveKey::new(&gathered.artist.sqid, claim.bdr_id);
        let stored = match self.left_by_earlier_attempt(claim, &key, attempt).await? {
            Some(stored) => stored,
            None => self.store(claim, &gathered, &key, attempt).await?,
        };
        let change = self
            .requests
            .ready(claim.bdr_id, &key, stored.size_bytes, self.expires_after_days)
            .await
            .map_err(|error| error.during("failed to mark the request ready"))?;
        Ok(match change {
            Change::Done(expires_at) => {
                let email = self.notify(claim, &gathered, &stored, expires_at).await;
                Outcome::Ready(stored, email)
            }
            Change::Closed => Outcome::Closed,
            Change::Superseded => Outcome::Superseded,
        })
    }

    /// On a second or later receive: the ZIP of an attempt that died between writing it and
    /// marking the row.
    async fn left_by_earlier_attempt(
        &self,
        claim: &Claim,
        key: &ArchiveKey,
        attempt: &Attempt,
    ) -> Result<Option<Stored>, Failure> {
        if attempt.receive_count < 2 {
            return Ok(None);
        }
        self.adopt(claim, key).await
    }

    async fn adopt(&self, claim: &Claim, key: &ArchiveKey) -> Result<Option<Stored>, Failure> {
        let found = self
            .vault
            .adopt(key, self.clock.now())
            .await
            .map_err(|error| Failure::retry("failed to look for an earlier ZIP", error))?;
        Ok(found.map(|object| Stored {
            size_bytes: object.size_bytes,
            artworks: without_duplicates(&claim.post_ids).len(),
            missing: 0,
            adopted: true,
        }))
    }

    /// Streams the ZIP into the vault, or leaves nothing of it there.
    async fn store(
        &self,
        claim: &Claim,
        gathered: &Gathered,
        key: &ArchiveKey,
        attempt: &Attempt,
    ) -> Result<Stored, Failure> {
        let mut upload = self.vault.upload(key.clone());
        let written =
            timeout_at(attempt.stop_at(), self.write(&mut upload, gathered, attempt)).await;
        let (artworks, missing) = match written {
            Ok(Ok(counts)) => counts,
            Ok(Err(failure)) => {
                upload.abort().await;
                return Err(failure);
            }
            Err(elapsed) => {
                upload.abort().await;
                return Err(Failure::retry("stopped shortly before the deadline", elapsed));
            }
        };
        let finished = timeout_at(attempt.stop_at(), upload.finish())
            .await
            .map_err(|elapsed| Failure::retry("stopped shortly before the deadline", elapsed))?
            .map_err(|error| Failure::retry("failed to complete the upload", error))?;
        match finished {
            Finished::Created(size_bytes) => {
                Ok(Stored { size_bytes, artworks, missing, adopted: false })
            }
            Finished::Conflict => self.adopt(claim, key).await?.ok_or_else(|| {
                Failure::retry("failed to complete the upload", "it conflicted with another one")
            }),
        }
    }

    /// Writes the whole ZIP. Returns how many artworks are in it and how many are missing.
    async fn write(
        &self,
        upload: &mut Upload,
        gathered: &Gathered,
        attempt: &Attempt,
    ) -> Result<(usize, usize), Failure> {
        let now = self.clock.now().truncate_to_second();
        let plans = plan(&gathered.posts);
        let mut metadata = Metadata::new(now, &gathered.artist.handle);
        let mut worst = Decision::Fail;
        let mut written = Vec::new();
        let mut archive = Archive::new(&mut *upload);

        let mut fetched = std::pin::pin!(self.fetcher.fetch(plans, attempt.remote_stop_at()));
        while let Some((plan, file)) = fetched.next().await {
            match (plan, file) {
                (Plan::Fetch(planned), Ok(file)) => {
                    let name = format!("artworks/{}", planned.packed.filename);
                    let modified = planned.post.created_at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
                    let added =
                        archive.add(&name, modified, planned.packed.packing, &file.bytes).await;
                    if let Err(error) = added {
                        drop(archive);
                        return Err(sink_failure(upload, error));
                    }
                    written.push(planned);
                }
                (plan, Err(missing)) => {
                    if missing.decision == Decision::Retry {
                        worst = Decision::Retry;
                    }
                    record_missing(&mut metadata, plan, &missing);
                }
                // Only what was planned is ever fetched.
                (Plan::Missing(..) | Plan::NoSuchPost(..), Ok(_)) => {}
            }
        }
        if written.is_empty() {
            return Err(no_artwork(worst));
        }
        for planned in &written {
            metadata.add(planned.post, planned.sqid, &planned.packed.filename);
        }
        let counts = (metadata.artworks(), metadata.missing());
        let files = json_files(now, gathered, &metadata)?;
        let closed = async {
            for (name, json) in files {
                archive.add(name, now, Packing::Deflate, &json).await?;
            }
            archive.close().await.map(drop)
        };
        closed.await.map_err(|error| sink_failure(upload, error))?;
        Ok(counts)
    }

    async fn notify(
        &self,
        claim: &Claim,
        gathered: &Gathered,
        stored: &Stored,
        expires_at: OffsetDateTime,
    ) -> EmailOutcome {
        if !claim.send_email {
            return EmailOutcome::NotWanted;
        }
        let artist = &gathered.artist;
        let link = format!("{}/u/{}/posts?bdr={}", self.base_url, artist.sqid, claim.bdr_id);
        let email = ReadyEmail {
            handle: &artist.handle,
            artworks: stored.artworks,
            missing: stored.missing,
            size_bytes: stored.size_bytes,
            link: &link,
            expires_at,
        };
        self.notifier.ready(artist.email.as_deref(), &email).await
    }

    /// Gives the request back for a later attempt, or ends it for good.
    async fn settle(
        &self,
        claim: &Claim,
        failure: &Failure,
        attempt: &Attempt,
        begun: Instant,
    ) -> Disposition {
        let bdr_id = claim.bdr_id;
        let retry = failure.decision() == Decision::Retry;
        let change = if retry && !attempt.is_last() {
            self.requests.release(claim).await
        } else {
            self.requests.fail(claim, &failure.artist_message()).await
        };
        let (result, disposition) = match change {
            Ok(Change::Done(())) if retry && !attempt.is_last() => {
                ("retried", Disposition::Return(Some(attempt.retry_delay())))
            }
            // The last receive of a request that might have gone well: an operator shall hear.
            Ok(Change::Done(())) if retry => ("failed", Disposition::Return(Some(Duration::ZERO))),
            Ok(Change::Done(())) => ("failed", Disposition::Acknowledge),
            Ok(Change::Closed) => ("closed by another", Disposition::Acknowledge),
            Ok(Change::Superseded) => ("superseded", Disposition::Return(None)),
            Err(error) => {
                tracing::error!(
                    error = chain(&error),
                    "BDR {bdr_id}: failed to settle the request"
                );
                ("unsettled", Disposition::Return(Some(attempt.retry_delay())))
            }
        };
        tracing::error!(
            result,
            error = chain(failure),
            duration_ms = millis(begun),
            "BDR {bdr_id}: the attempt failed"
        );
        disposition
    }
}

/// The outcome line of an attempt that did not fail.
fn conclude(bdr_id: Uuid, outcome: &Outcome, begun: Instant) -> Disposition {
    match outcome {
        Outcome::Ready(stored, email) => {
            tracing::info!(
                result = "ready",
                duration_ms = millis(begun),
                size_bytes = stored.size_bytes,
                artworks = stored.artworks,
                missing = stored.missing,
                adopted = stored.adopted,
                email = email.as_str(),
                "BDR {bdr_id}: ready"
            );
            Disposition::Acknowledge
        }
        Outcome::Closed => {
            tracing::info!(
                result = "closed by another",
                duration_ms = millis(begun),
                "BDR {bdr_id}: another attempt was first"
            );
            Disposition::Acknowledge
        }
        Outcome::Superseded => {
            tracing::info!(
                result = "superseded",
                duration_ms = millis(begun),
                "BDR {bdr_id}: a newer attempt is at work"
            );
            Disposition::Return(None)
        }
    }
}

/// The database did not let us claim the request: nothing was changed, so nothing is to be undone.
fn unclaimed(bdr_id: Uuid, error: DatabaseError, attempt: &Attempt) -> Disposition {
    let failure = error.during("failed to claim the request");
    tracing::error!(
        result = "unclaimed",
        error = chain(&failure),
        "BDR {bdr_id}: the attempt failed"
    );
    let delay = if attempt.is_last() { Duration::ZERO } else { attempt.retry_delay() };
    Disposition::Return(Some(delay))
}

fn record_missing<'a>(metadata: &mut Metadata<'a>, plan: Plan<'a>, missing: &Missing) {
    let post_id = match &plan {
        Plan::Fetch(planned) => planned.post.id,
        Plan::Missing(post, _) => post.id,
        Plan::NoSuchPost(id, _) => *id,
    };
    tracing::warn!(
        post_id,
        reason = missing.reason,
        detail = missing.detail,
        retryable = missing.decision == Decision::Retry,
        "an artwork is missing"
    );
    let reason = missing.reason.to_owned();
    match plan {
        Plan::Fetch(planned) => metadata.lack(planned.post, reason),
        Plan::Missing(post, _) => metadata.lack(post, reason),
        Plan::NoSuchPost(id, _) => metadata.lack_post(id, reason),
    }
}

/// Every artwork is missing: for good, or, if one of the causes may pass, for now.
fn no_artwork(decision: Decision) -> Failure {
    match decision {
        Decision::Retry => {
            Failure::retry("no artwork could be fetched", "at least one of the causes may pass")
        }
        Decision::Fail => Failure::permanent(
            "no artwork could be fetched",
            "None of the requested artworks could be downloaded: their files are missing.",
        ),
    }
}

/// The JSON files of the ZIP, by name.
fn json_files(
    now: OffsetDateTime,
    gathered: &Gathered,
    metadata: &Metadata<'_>,
) -> Result<Vec<(&'static str, Vec<u8>)>, Failure> {
    let posts: Vec<&Post> = gathered.posts.iter().flatten().collect();
    let render = || {
        let mut files = vec![("metadata.json", serde_json::to_vec_pretty(metadata)?)];
        if let Some(comments) = &gathered.comments {
            let document = documents::comments(now, &posts, comments);
            files.push(("comments.json", serde_json::to_vec_pretty(&document)?));
        }
        if let Some(reactions) = &gathered.reactions {
            let document = documents::reactions(now, &posts, reactions);
            files.push(("reactions.json", serde_json::to_vec_pretty(&document)?));
        }
        Ok(files)
    };
    render().map_err(|error: serde_json::Error| {
        Failure::permanent_fault("failed to write the ZIP's JSON files", error)
    })
}

/// An error of the ZIP writer is one of its sink; the upload knows the cause.
fn sink_failure(upload: &mut Upload, error: async_zip::error::ZipError) -> Failure {
    const CONTEXT: &str = "failed to upload the ZIP";
    match upload.take_failure() {
        Some(cause) => Failure::retry(CONTEXT, cause),
        None => Failure::retry(CONTEXT, error),
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
