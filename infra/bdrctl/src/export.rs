//! The large export of a request: the execution of the state machine, and its progress.

use std::time::Duration;

use ::time::OffsetDateTime;
use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use shared::clock::Clock;
use shared::executions::{Execution, ExecutionInput, Executions};
use shared::request::{MAX_ATTEMPT_DURATION, Overview};
use shared::vault::{Vault, WrittenSegment};

use crate::advised::Advised;
use crate::operator::Operator;
use crate::output::time;

/// Maximum age of a plan that is continued. The cleanup deletes what a failed request has in the vault when
/// it is older than a day, and the bucket's lifecycle aborts its upload after two.
const MAX_PLAN_AGE: ::time::Duration = ::time::Duration::hours(20);

/// The progress of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Whether its execution runs.
    pub running: bool,
    /// Its segments.
    pub segments: usize,
    /// The segments that are written.
    pub segments_done: usize,
    /// The size of the segments that are written, in bytes.
    pub bytes_done: u64,
    /// The time until all segments are written, at the pace so far. `None` before the first one, and after
    /// the last one.
    pub seconds_left: Option<u64>,
}

impl Operator {
    /// Returns the state machine of large exports, if the deployment has one.
    pub(crate) async fn executions(&self) -> Result<Option<Executions>> {
        let arn = self.outputs.export_state_machine().await?;
        Ok(arn.map(|arn| Executions::new(&self.connection.aws, arn)))
    }

    /// Returns the latest execution for a request, if the last attempt at it began an export.
    pub(crate) async fn execution(&self, request: &Overview) -> Result<Option<Execution>> {
        let Some(token) = request.started_at else { return Ok(None) };
        let Some(executions) = self.executions().await? else { return Ok(None) };
        executions.find(request.bdr_id, token).await.with_context(|| {
            Advised::new(
                format!("failed to look for the export of request {}", request.bdr_id),
                "Check the credentials (states:DescribeExecution).",
            )
        })
    }

    /// Returns the latest execution for a request that is `processing` or `failed`.
    pub(crate) async fn execution_of_open_or_failed(
        &self,
        request: &Overview,
    ) -> Result<Option<Execution>> {
        let may_have_one = ["processing", "failed"].contains(&request.status.as_str());
        if may_have_one { self.execution(request).await } else { Ok(None) }
    }

    /// Returns whether the export of a request runs.
    pub(crate) async fn is_exporting(&self, request: &Overview) -> Result<bool> {
        if request.status != "processing" {
            return Ok(false);
        }
        Ok(self.execution(request).await?.is_some_and(|execution| execution.is_running()))
    }

    /// Starts another execution that continues an export whose execution has ended. The segments that are
    /// written are not written again. Returns the progress so far, or `None` if the plan is gone or too old,
    /// or the row has changed.
    ///
    /// Not `RedriveExecution`: a state machine that marks the row `failed` before it fails has caught the
    /// error, so a redrive repeats its last state; and the history of a redriven execution continues, which
    /// a large export would not fit in twice.
    ///
    /// # Errors
    /// When an invocation of the execution may still be running.
    pub(crate) async fn resume(
        &self,
        request: &Overview,
        execution: &Execution,
    ) -> Result<Option<Progress>> {
        let (Some(token), Some(ended_at)) = (request.started_at, execution.ended_at) else {
            return Ok(None);
        };
        let Some(executions) = self.executions().await? else { return Ok(None) };
        let (vault, export) = (self.vault().await?, &execution.input.export);
        let plan = vault.export_document_written_at(&export.plan()).await;
        let plan = plan.context(Advised::new(
            "failed to look for the plan of the export",
            "Check the credentials (s3:ListBucket).",
        ))?;
        if plan.is_none_or(|written_at| request.now - written_at > MAX_PLAN_AGE) {
            return Ok(None);
        }
        // A segment that failed ends the execution, and not the invocations that write others.
        let until = ended_at.saturating_add(MAX_ATTEMPT_DURATION);
        if request.now <= until {
            let bdr_id = request.bdr_id;
            bail!(Advised::new(
                format!(
                    "request {bdr_id} is {}: its export may be writing a segment until {}",
                    request.status,
                    time(Some(until))
                ),
                format!("To resume it, run `bdrctl retry {bdr_id}` after that time."),
            ));
        }
        let written = written(&vault, execution).await?;
        let Some(token) = self.requests().await?.resume(request.bdr_id, token).await? else {
            return Ok(None);
        };
        let input = ExecutionInput { export: export.resumed(token), ..execution.input.clone() };
        executions.start(&input).await.with_context(|| {
            Advised::new(
                format!("failed to resume the export of request {}", request.bdr_id),
                "Check the credentials (states:StartExecution). To start the request over, run the \
                 command again after 16 minutes.",
            )
        })?;
        Ok(Some(Progress::of(execution, &written, request.now)))
    }

    /// Returns the progress of an execution.
    pub(crate) async fn progress(&self, execution: &Execution) -> Result<Progress> {
        let vault = self.vault().await?;
        let written = written(&vault, execution).await?;
        Ok(Progress::of(execution, &written, Clock::system().now()))
    }

    /// Returns the progress of a request's export, if it has one. A deployment whose stack cannot be read
    /// has none.
    pub(crate) async fn progress_of(&self, request: &Overview) -> Result<Option<Progress>> {
        if request.status != "processing" || self.outputs.export_state_machine().await.is_err() {
            return Ok(None);
        }
        match self.execution(request).await? {
            Some(execution) => Ok(Some(self.progress(&execution).await?)),
            None => Ok(None),
        }
    }
}

/// Returns the segments of an export that are written, the first one included.
pub(crate) async fn written(vault: &Vault, execution: &Execution) -> Result<Vec<WrittenSegment>> {
    let written = vault.written_segments(&execution.input.export).await;
    written.context(Advised::new(
        "failed to list the segments of the export",
        "Check the credentials (s3:ListBucket).",
    ))
}

impl Progress {
    fn of(execution: &Execution, written: &[WrittenSegment], now: OffsetDateTime) -> Self {
        let segments = execution.input.segments.len() + 1;
        let bytes: u64 = written.iter().map(|segment| segment.size_bytes).sum();
        // The first one, and those of an earlier execution, say nothing about the pace of this one.
        let since = execution.started_at;
        let recent = written.iter().filter(|written| {
            written.segment > 0 && written.written_at.is_some_and(|at| at >= since)
        });
        let recent = u32::try_from(recent.count()).unwrap_or(u32::MAX);
        let left = u32::try_from(segments.saturating_sub(written.len())).unwrap_or(u32::MAX);
        let elapsed = Duration::try_from(now - since).unwrap_or_default();
        let time_left = (recent > 0 && left > 0).then(|| elapsed * left / recent);
        Self {
            running: execution.is_running(),
            segments,
            segments_done: written.len(),
            bytes_done: execution.input.first_segment_bytes + bytes,
            seconds_left: time_left.filter(|_| execution.is_running()).map(|it| it.as_secs()),
        }
    }

    /// Describes the progress on one line.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { segments, segments_done, bytes_done, .. } = self;
        format!("{segments_done} of {segments} segments, {bytes_done} bytes; {}", self.next())
    }

    /// Describes the progress beside a bar, without the bytes.
    pub(crate) fn brief(&self) -> String {
        format!("{} of {} segments, {}", self.segments_done, self.segments, self.next())
    }

    fn next(&self) -> String {
        let Self { running, segments, segments_done, seconds_left, .. } = self;
        match (running, seconds_left) {
            (false, _) => "its execution has ended".to_owned(),
            (true, Some(seconds)) => {
                format!("about {} left", humantime::format_duration(Duration::from_secs(*seconds)))
            }
            (true, None) if segments_done == segments => "joining them".to_owned(),
            (true, None) => "time left unknown".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::executions::{Execution, ExecutionInput};
    use shared::sqid::Sqid;
    use shared::vault::{Export, WrittenSegment};
    use time::macros::datetime;
    use uuid::Uuid;

    use super::Progress;

    #[test]
    fn the_time_left_follows_from_the_segments_of_this_execution() {
        let begun = datetime!(2026-03-04 05:00 UTC);
        let export = Export::new(&Sqid::parse("u").unwrap(), Uuid::nil(), begun);
        let input =
            ExecutionInput { export, segments: (1..=9).collect(), first_segment_bytes: 1_000 };
        let execution = Execution { input, started_at: begun, ended_at: None };
        let written = |minutes: &[i64]| -> Vec<WrittenSegment> {
            let at = |minutes| Some(begun + time::Duration::minutes(minutes));
            let written = (0..).zip(minutes);
            let written = written.map(|(segment, it)| WrittenSegment {
                segment,
                size_bytes: 7,
                written_at: at(*it),
            });
            written.collect()
        };
        let progress = |minutes: &[i64]| {
            Progress::of(&execution, &written(minutes), begun + time::Duration::minutes(10))
        };
        assert_eq!(progress(&[-1]).text(), "1 of 10 segments, 1007 bytes; time left unknown");
        let after_four = progress(&[-1, 5, 6, 7, 9]);
        assert_eq!(after_four.seconds_left, Some(750), "5 of 9 at 2.5 minutes each");
        assert_eq!(after_four.text(), "5 of 10 segments, 1035 bytes; about 12m 30s left");
        assert_eq!(after_four.brief(), "5 of 10 segments, about 12m 30s left");
        let all = progress(&[-1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(all.text(), "10 of 10 segments, 1070 bytes; joining them");
        let ended = Execution { ended_at: Some(begun), ..execution.clone() };
        let ended = Progress::of(&ended, &written(&[-1, 5]), begun);
        assert!(ended.text().ends_with("its execution has ended") && !ended.running);
    }
}
