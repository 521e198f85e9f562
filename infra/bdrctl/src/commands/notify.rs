//! `notify`: sends the e-mail about a ready request again.
//!
//! process-bdr-job sends it, with the words and the address of the first one. No call is repeated: a
//! repetition after a lost response would send a third e-mail.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;
use uuid::Uuid;

use crate::advised::Advised;
use crate::operator::Operator;
use crate::output::{Printer, state_of};

/// Time limit of the invocation: the start of the function, and its calls of the database, S3 and SES.
const LIMIT: Duration = Duration::from_mins(2);

/// Sends the e-mail, and fails unless SES accepted it.
pub(crate) async fn run(operator: &Operator, bdr_id: Uuid, printer: Printer) -> Result<bool> {
    let request = operator.request(bdr_id).await?;
    let state = || state_of(&request);
    if request.status != "ready" {
        bail!("only a ready request has an e-mail to send again: request {bdr_id} {}", state());
    }
    let function = operator.outputs.process_function().await?;
    let event = json!({"notify": {"bdr_id": bdr_id}});
    let answer = operator.invoke_once(&function, &event, LIMIT).await?;
    let text = |name: &str| answer[name].as_str().unwrap_or("unknown");
    match (text("status"), text("email")) {
        ("ok", "sent") => {
            printer.result(&answer, || format!("Sent the e-mail about request {bdr_id}."))?;
            Ok(true)
        }
        ("ok", "not wanted") => bail!("request {bdr_id} asks for no e-mail (send_email)"),
        ("ok", "skipped") => bail!("the e-mail was not sent: {}", text("reason")),
        ("ok", "failed") => bail!(Advised::new(
            "the e-mail may not have been sent: SES rejected it or did not respond",
            format!(
                "To read the error, run `bdrctl log {bdr_id}`; to check SES, run `bdrctl doctor`."
            ),
        )),
        (status, _) => bail!("the e-mail was not sent: {function} returned {status}"),
    }
}
