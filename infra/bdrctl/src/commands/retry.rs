//! `retry`: resumes the large export of the request, if it ended lately; otherwise deletes the leftover ZIP
//! and reopens the row, then publishes the message.
//!
//! An interruption before the row is committed leaves the row unchanged, although the ZIP may be
//! deleted. An interruption after it leaves the row `pending`: the same command then publishes the
//! request, and so does the cleanup within two hours. An interruption of a resumption leaves the row
//! `processing` without an execution: the same command starts the request over after 16 minutes.

use anyhow::{Result, bail};
use serde_json::json;
use shared::queue::Publication;
use shared::request::Remedy;
use uuid::Uuid;

use crate::advised::Advised;
use crate::export::Progress;
use crate::operator::Operator;
use crate::output::{Printer, state_of, time};

/// Retries one request.
pub(crate) async fn run(operator: &Operator, bdr_id: Uuid, printer: Printer) -> Result<bool> {
    let request = operator.request(bdr_id).await?;
    if let Some(execution) = operator.execution_of_open_or_failed(&request).await? {
        if execution.is_running() && request.status == "processing" {
            let problem = format!("request {bdr_id} is processing: its large export is running");
            bail!(Advised::new(problem, format!("To watch it, run `bdrctl watch {bdr_id}`.")));
        }
        if let Some(resumed) = operator.resume(&request, &execution).await? {
            let was = &request.status;
            let value = json!({
                "bdr_id": bdr_id, "was": was, "published": false, "resumed": true,
                "segments": resumed.segments, "segments_done": resumed.segments_done,
            });
            printer.result(&value, || {
                let Progress { segments, segments_done, .. } = resumed;
                format!(
                    "Resumed the export of {bdr_id} (was {was}): {segments_done} of {segments} \
                     segments are written."
                )
            })?;
            return Ok(true);
        }
    }
    let reopened = match request.remedy() {
        Some(Remedy::Reopen) => operator.reopen(&request).await?,
        Some(Remedy::Publish) => false,
        Some(Remedy::Wait) => {
            let until = time(request.attempts_end());
            let status = &request.status;
            let problem =
                format!("request {bdr_id} is {status}: an attempt may be running until {until}");
            let advice = if status == "failed" {
                format!("To retry it, run `bdrctl retry {bdr_id}` after that time.")
            } else {
                format!("To watch it, run `bdrctl watch {bdr_id}`.")
            };
            bail!(Advised::new(problem, advice))
        }
        Some(Remedy::Nothing) | None => {
            bail!("nothing to retry: request {bdr_id} {}", state_of(&request))
        }
    };
    operator.publish(Publication { bdr_id, user_id: request.user_id }).await?;
    let was = &request.status;
    printer.result(
        &json!({"bdr_id": bdr_id, "was": was, "published": true, "resumed": false}),
        || {
            if reopened {
                format!("Reopened and published {bdr_id} (was {was}).")
            } else {
                format!("Published {bdr_id} (was {was}).")
            }
        },
    )?;
    Ok(true)
}
