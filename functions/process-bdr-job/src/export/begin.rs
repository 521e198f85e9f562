//! Begins a large export: an attempt leaves what it has made to the state machine.

use futures_util::stream::{self, TryStreamExt};
use shared::executions::ExecutionInput;
use shared::failure::Failure;
use shared::request::Claim;
use shared::vault::Export;

use super::plan::{Parts, Plan, put, put_serialized, serialized};
use crate::archive::Head;
use crate::attempt::Attempt;
use crate::job::Job;
use crate::load::LoadedRequest;

/// Documents written at once, each with the posts of up to 20,000 artworks: about 10 MB.
const PUTS: usize = 4;

impl Job {
    /// Writes the plan of an export, and starts its execution.
    ///
    /// # Errors
    /// A retryable failure when a service fails. The upload is then aborted, and the next attempt begins
    /// another export.
    pub(crate) async fn begin_export(
        &self,
        claim: &Claim,
        request: LoadedRequest,
        head: Head,
        attempt: &Attempt,
    ) -> Result<(), Failure> {
        let segments = self.archiver.segments.ok_or_else(no_state_machine)?;
        let mut export = Export::new(&request.artist.sqid, claim.bdr_id, claim.token);
        export.traceparent = attempt.span.map(|span| span.traceparent());
        let artworks = request.post_ids.len();
        let settled = head.settled();
        let left = left(&settled, artworks);
        let time = attempt.stop_at().saturating_duration_since(attempt.begun_at);
        let count = segments.count(left.len(), &head.pace, time);
        let in_one = left.len().div_ceil(count.max(1)).max(1);
        let plan = Plan {
            generated_at: head.generated_at,
            sent_at: attempt.sent_at,
            segments: u32::try_from(left.len().div_ceil(in_one) + 1).unwrap_or(u32::MAX),
            artworks,
            upload: head.upload.clone(),
        };
        let cuts = std::iter::once(&*settled).chain(left.chunks(in_one));
        let parts = Parts::new(self, request);
        let begun = self.write_plan(&export, head, &plan, parts, cuts).await;
        if begun.is_err() {
            let (vault, key) = (&self.archiver.vault, export.archive());
            vault.abort_suspended(&key, &plan.upload).await;
            self.delete_export(&export, &plan).await;
        } else {
            tracing::info!(
                segments = plan.segments,
                artworks,
                artworks_left = left.len(),
                "archive is large; the state machine continues"
            );
        }
        begun
    }

    /// Writes the documents of the export, the plan last, and starts the execution. `cuts` are the positions of
    /// the artworks of each segment.
    async fn write_plan<'a>(
        &self,
        export: &Export,
        head: Head,
        plan: &Plan,
        parts: Parts<'_>,
        cuts: impl Iterator<Item = &'a [usize]>,
    ) -> Result<(), Failure> {
        let vault = &self.archiver.vault;
        let mut manifest = head.manifest;
        if !head.rest.is_empty() {
            let put = vault.put_segment(&export.segment(0), head.rest).await;
            let stored = put.map_err(|error| Failure::retry("failed to write a segment", error))?;
            manifest.e_tag = Some(stored);
        }
        put(vault, &export.manifest(0), &manifest).await?;
        drop(manifest);
        let parts = stream::try_unfold((parts, (0..).zip(cuts)), async |(mut parts, mut cuts)| {
            let Some((segment, positions)) = cuts.next() else { return Ok(None) };
            let document = serialized(&parts.part(positions).await?)?;
            Ok(Some(((segment, document), (parts, cuts))))
        });
        let put_part = async |(segment, document)| {
            put_serialized(vault, &export.posts(segment), document).await
        };
        parts.map_ok(put_part).try_buffer_unordered(PUTS).try_collect::<()>().await?;
        put(vault, &export.plan(), plan).await?;
        let executions = self.executions.as_ref().ok_or_else(no_state_machine)?;
        let input = ExecutionInput {
            export: export.clone(),
            segments: (1..plan.segments).collect(),
            first_segment_bytes: plan.upload.size,
        };
        executions.start(&input).await
    }

    /// Deletes the objects of an export, and the uploads of segments whose invocations were killed. If that
    /// fails, the cleanup and the bucket's lifecycle delete them.
    pub(super) async fn delete_export(&self, export: &Export, plan: &Plan) {
        self.archiver.vault.abort_segment_uploads(export).await;
        let error = match self.archiver.vault.delete_export(&plan.keys(export)).await {
            Ok(not_deleted) if not_deleted.is_empty() => return,
            Ok(not_deleted) => format!("S3 kept {} objects", not_deleted.len()),
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            error,
            "failed to delete the segments of an export; leaving them to the cleanup"
        );
    }
}

/// Returns the positions that are not settled, of `requested` ones. Both are in ascending order.
fn left(settled: &[usize], requested: usize) -> Vec<usize> {
    let mut settled = settled.iter().peekable();
    (0..requested).filter(|position| settled.next_if_eq(&position).is_none()).collect()
}

/// Only a wrong wiring leads here: without a state machine no archive is cut into segments.
fn no_state_machine() -> Failure {
    Failure::permanent_fault("failed to start the export", "no state machine is configured")
}
