//! `retry`: the leftover ZIP and the row first, the message second.
//!
//! Interrupted before the row is committed, nothing has changed but that the ZIP may be gone.
//! Interrupted after, the row is `pending`: the same command then publishes it, and so does the
//! cleanup within two hours.

use anyhow::{Result, bail};
use serde_json::json;
use shared::request::Remedy;
use uuid::Uuid;

use crate::operator::Operator;
use crate::output::Output;

/// Retries one request.
pub(crate) async fn run(operator: &Operator, bdr_id: Uuid, output: Output) -> Result<bool> {
    let request = operator.request(bdr_id).await?;
    let reopened = match request.remedy() {
        Some(Remedy::Reopen) => operator.reopen(&request).await?,
        Some(Remedy::Publish) => false,
        Some(Remedy::Wait) => bail!(
            "{bdr_id} is processing: an attempt may be at work on it. Follow it by: bdrctl watch \
             {bdr_id}. One that has died is taken over by itself."
        ),
        Some(Remedy::Nothing) | None => {
            bail!("{bdr_id} is {}: there is nothing to retry.", request.status)
        }
    };
    operator.publish(bdr_id).await?;
    let was = &request.status;
    output.result(&json!({"bdr_id": bdr_id, "was": was, "published": true}), || {
        if reopened {
            format!("{bdr_id} was {was}; it is pending and published again.")
        } else {
            format!("{bdr_id} was {was}; it is published again.")
        }
    })?;
    Ok(true)
}
