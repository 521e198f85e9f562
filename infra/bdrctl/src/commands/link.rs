//! `link`: what the API does at each click of the artist.

use anyhow::{Context as _, Result, bail};
use uuid::Uuid;

use crate::operator::Operator;
use crate::output::Output;

/// Prints the URL, and nothing else.
pub(crate) async fn run(operator: &Operator, bdr_id: Uuid, output: Output) -> Result<bool> {
    let user_id = operator.request(bdr_id).await?.user_id;
    let user_id = user_id.with_context(|| format!("{bdr_id} belongs to nobody"))?;
    let answer = operator.presign(bdr_id, user_id).await?;
    let text = |name: &str| answer[name].as_str().unwrap_or("unknown");
    match answer["url"].as_str() {
        Some(url) => output.result(&answer, || url.to_owned())?,
        None if text("status") == "not_ready" => {
            bail!("{bdr_id} is {}: there is no archive to download.", text("bdr_status"))
        }
        None => bail!("{bdr_id} cannot be downloaded: it is {}.", text("status")),
    }
    Ok(true)
}
