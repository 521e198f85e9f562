//! `link`: the call that the API makes at each click of the artist.

use anyhow::{Context as _, Result, bail};
use uuid::Uuid;

use crate::operator::Operator;
use crate::output::{Printer, state_of};

/// Prints the URL, and nothing else.
pub(crate) async fn run(operator: &Operator, bdr_id: Uuid, printer: Printer) -> Result<bool> {
    let request = operator.request(bdr_id).await?;
    let user_id = request.user_id.with_context(|| format!("request {bdr_id} has no user"))?;
    let response = operator.presign(bdr_id, user_id).await?;
    let text = |name: &str| response[name].as_str().unwrap_or("unknown");
    match response["url"].as_str() {
        Some(url) => printer.result(&response, || url.to_owned())?,
        None if request.status != "ready" => {
            bail!("request {bdr_id} has no archive to download: it {}", state_of(&request))
        }
        None => bail!("request {bdr_id} has no archive: the function returned {}", text("status")),
    }
    Ok(true)
}
