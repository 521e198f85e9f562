//! `submit`: the row first, then the message.

use anyhow::{Result, bail};
use serde_json::json;
use shared::request::{NewRequest, Remedy};
use uuid::Uuid;

use crate::arguments::SubmitArguments;
use crate::operator::Operator;
use crate::output::Output;

/// Publishes a request that is there, or one that it makes.
pub(crate) async fn run(
    operator: &Operator,
    arguments: SubmitArguments,
    output: Output,
) -> Result<bool> {
    let (bdr_id, inserted) = match (arguments.bdr_id, arguments.user) {
        (Some(bdr_id), _) => {
            check_open(operator, bdr_id).await?;
            (bdr_id, false)
        }
        (None, Some(user_id)) => {
            let request = NewRequest {
                user_id,
                post_ids: arguments.posts,
                include_comments: arguments.comments,
                include_reactions: arguments.reactions,
                send_email: arguments.email,
            };
            (operator.insert(&request).await?, true)
        }
        (None, None) => bail!("Give a request, or --user and --posts."),
    };
    if let Err(error) = operator.publish(bdr_id).await {
        let advice = format!("Its row is pending. Publish it by: bdrctl submit {bdr_id}");
        return Err(error.context(advice));
    }
    output.result(&json!({"bdr_id": bdr_id, "inserted": inserted, "published": true}), || {
        let made = if inserted { "inserted and " } else { "" };
        format!("{bdr_id} {made}published. Follow it by: bdrctl watch {bdr_id}")
    })?;
    Ok(true)
}

/// A message for a closed request changes nothing, so it is not sent.
async fn check_open(operator: &Operator, bdr_id: Uuid) -> Result<()> {
    let request = operator.request(bdr_id).await?;
    match request.remedy() {
        Some(Remedy::Publish | Remedy::Wait) => Ok(()),
        Some(Remedy::Reopen) => {
            bail!("{bdr_id} has failed, and is skipped if published. Use: bdrctl retry {bdr_id}")
        }
        Some(Remedy::Nothing) | None => {
            bail!("{bdr_id} is {}, and is skipped if published.", request.status)
        }
    }
}
