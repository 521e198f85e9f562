//! `submit`: inserts the row, then publishes the message.

use anyhow::{Result, bail};
use serde_json::json;
use shared::queue::Publication;
use shared::request::{NewRequest, Overview, Remedy};
use uuid::Uuid;

use crate::advised::Advised;
use crate::arguments::SubmitArguments;
use crate::operator::Operator;
use crate::output::{Printer, state_of};

/// Publishes an existing request, or inserts and publishes a new one.
pub(crate) async fn run(
    operator: &Operator,
    arguments: SubmitArguments,
    printer: Printer,
) -> Result<bool> {
    let (bdr_id, user_id, inserted) = match (arguments.bdr_id, arguments.user) {
        (Some(bdr_id), _) => (bdr_id, open(operator, bdr_id).await?.user_id, false),
        (None, Some(user_id)) => {
            let request = NewRequest {
                user_id,
                post_ids: arguments.posts,
                include_comments: arguments.comments,
                include_reactions: arguments.reactions,
                send_email: arguments.email,
            };
            (operator.insert(&request).await?, Some(user_id), true)
        }
        (None, None) => bail!("Specify a request id, or --user and --posts"),
    };
    operator.publish(Publication { bdr_id, user_id }).await?;
    printer.result(&json!({"bdr_id": bdr_id, "inserted": inserted, "published": true}), || {
        let done = if inserted { "Inserted and published" } else { "Published" };
        format!("{done} {bdr_id}. To watch it, run `bdrctl watch {bdr_id}`.")
    })?;
    Ok(true)
}

/// Returns the request. Rejects a closed one: its message would change nothing.
async fn open(operator: &Operator, bdr_id: Uuid) -> Result<Overview> {
    let request = operator.request(bdr_id).await?;
    let problem =
        || format!("process-bdr-job would skip request {bdr_id}: it {}", state_of(&request));
    if operator.is_exporting(&request).await? {
        let advice = format!("To watch it, run `bdrctl watch {bdr_id}`.");
        bail!(Advised::new(format!("the large export of request {bdr_id} is running"), advice));
    }
    match request.remedy() {
        Some(Remedy::Wait) if request.status == "processing" => Ok(request),
        Some(Remedy::Publish) => Ok(request),
        Some(Remedy::Reopen | Remedy::Wait) => {
            let advice = format!("To reopen and publish it, run `bdrctl retry {bdr_id}`.");
            bail!(Advised::new(problem(), advice))
        }
        Some(Remedy::Nothing) | None => bail!(problem()),
    }
}
