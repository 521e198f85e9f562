//! Getting the ZIP into the vault: adopting one that stands there, or streaming a new one.

use std::io;

use futures_util::StreamExt;
use serde::Serialize;
use shared::failure::{Decision, Failure};
use shared::request::Claim;
use shared::vault::{ArchiveKey, Finished, Upload};
use time::OffsetDateTime;
use tokio::time::timeout_at;

use crate::archive::{Archive, Deflated};
use crate::artwork::{Missing, Plan, plan};
use crate::attempt::Attempt;
use crate::documents::{self, Metadata};
use crate::event::Contents;
use crate::gather::{Gathered, Post, without_duplicates};
use crate::job::Job;
use crate::phases::{Phase, Phases};

impl Job {
    /// On a second or later receive: the ZIP of an attempt that died between writing it and
    /// marking the row.
    pub(crate) async fn left_by_earlier_attempt(
        &self,
        claim: &Claim,
        key: &ArchiveKey,
        attempt: &Attempt,
    ) -> Result<Option<Contents>, Failure> {
        if attempt.receive_count < 2 {
            return Ok(None);
        }
        self.adopt(claim, key).await
    }

    async fn adopt(&self, claim: &Claim, key: &ArchiveKey) -> Result<Option<Contents>, Failure> {
        let found = self
            .vault
            .adopt(key, self.clock.now())
            .await
            .map_err(|error| Failure::retry("failed to look for an earlier ZIP", error))?;
        Ok(found.map(|object| Contents {
            size_bytes: object.size_bytes,
            artworks: without_duplicates(&claim.post_ids).len(),
            missing: 0,
            adopted: true,
        }))
    }

    /// Streams the ZIP into the vault, or leaves nothing of it there.
    pub(crate) async fn store(
        &self,
        claim: &Claim,
        gathered: &Gathered,
        key: &ArchiveKey,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> Result<Contents, Failure> {
        let mut upload = self.vault.upload(key.clone());
        let written =
            timeout_at(attempt.stop_at(), self.write(&mut upload, gathered, attempt, phases)).await;
        phases.enter(Phase::Upload);
        phases.shift(Phase::Write, Phase::Upload, upload.waited());
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
        let finished = upload
            .finish(attempt.stop_at())
            .await
            .map_err(|error| Failure::retry("failed to complete the upload", error))?;
        match finished {
            Finished::Created(size_bytes) => {
                Ok(Contents { size_bytes, artworks, missing, adopted: false })
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
        phases: &mut Phases,
    ) -> Result<(usize, usize), Failure> {
        let now = self.clock.now().truncate_to_second();
        let plans = plan(&gathered.posts);
        let mut metadata = Metadata::new(now, &gathered.artist.handle, gathered.posts.len());
        let mut worst = Decision::Fail;
        let mut archive = Archive::new(&mut *upload);

        let mut fetched = std::pin::pin!(self.fetcher.fetch(plans, attempt.remote_stop_at()));
        loop {
            phases.enter(Phase::Fetch);
            let next = fetched.next().await;
            phases.enter(Phase::Write);
            let Some((plan, file)) = next else { break };
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
                    metadata.add(planned.post, planned.sqid, planned.packed.filename);
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
        if metadata.artworks() == 0 {
            return Err(no_artwork(worst));
        }
        let counts = (metadata.artworks(), metadata.missing());
        let files = json_files(now, gathered, &metadata)?;
        let closed = async {
            for (name, json) in files {
                archive.add_deflated(name, now, &json).await?;
            }
            archive.close().await.map(drop)
        };
        closed.await.map_err(|error| sink_failure(upload, error))?;
        Ok(counts)
    }
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
        Plan::Fetch(planned) => metadata.add_missing(planned.post, reason),
        Plan::Missing(post, _) => metadata.add_missing(post, reason),
        Plan::NoSuchPost(id, _) => metadata.add_missing_post(id, reason),
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
) -> Result<Vec<(&'static str, Deflated)>, Failure> {
    let posts: Vec<&Post> = gathered.posts.iter().flatten().collect();
    let render = || {
        let mut files = vec![("metadata.json", json(metadata)?)];
        if let Some(comments) = &gathered.comments {
            files.push(("comments.json", json(&documents::comments(now, &posts, comments))?));
        }
        if let Some(reactions) = &gathered.reactions {
            files.push(("reactions.json", json(&documents::reactions(now, &posts, reactions))?));
        }
        Ok(files)
    };
    render().map_err(|error: io::Error| {
        Failure::permanent_fault("failed to write the ZIP's JSON files", error)
    })
}

fn json(document: &impl Serialize) -> io::Result<Deflated> {
    Deflated::new(|writer| Ok(serde_json::to_writer_pretty(writer, document)?))
}

/// An error of the ZIP writer is one of its sink; the upload knows the cause.
fn sink_failure(upload: &mut Upload, error: async_zip::error::ZipError) -> Failure {
    const CONTEXT: &str = "failed to upload the ZIP";
    match upload.take_failure() {
        Some(cause) => Failure::retry(CONTEXT, cause),
        None => Failure::retry(CONTEXT, error),
    }
}
