//! `redrive`: for every message of the dead-letter queue the row first, then the queue, then the
//! message's deletion.
//!
//! Interrupted anywhere, the message is in the dead-letter queue again after its visibility timeout, and the next
//! redrive goes on with it from the state of its row.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use shared::queue::{Queue, ReceivedMessage};
use shared::request::Remedy;
use uuid::Uuid;

use crate::arguments::RedriveArguments;
use crate::operator::Operator;
use crate::output::{self, Output, note, table};

/// What is done about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// Row to `pending`, published, deleted.
    Retry,
    /// Published, deleted.
    Publish,
    /// Only deleted.
    Delete,
    /// Left.
    Leave,
}

/// A message, and what becomes of it.
#[derive(Debug, Serialize)]
struct DeadMessage {
    message_id: String,
    bdr_id: Option<Uuid>,
    status: Option<String>,
    action: Action,
    reason: &'static str,
    /// Whether it was done.
    done: bool,
    error: Option<String>,
}

/// Redrives everything, or shows what that would be.
pub(crate) async fn run(
    operator: &Operator,
    arguments: &RedriveArguments,
    output: Output,
) -> Result<bool> {
    let dead = operator.dead_letters().await?;
    let queue = operator.queue().await?;
    let mut redrive = Redrive {
        operator,
        dead,
        queue,
        arguments,
        seen: HashSet::new(),
        published: HashSet::new(),
    };
    let (mut findings, mut kept) = (Vec::new(), Vec::new());
    let result = redrive.all(&mut findings, &mut kept).await;
    // What is left is to be seen by others at once, whatever has gone wrong.
    for letter in &kept {
        if let Err(error) = redrive.dead.release(letter).await {
            output::error(&error.into());
        }
    }
    output.result(&findings, || text(&findings))?;
    result?;
    if !arguments.yes && findings.iter().any(|finding| finding.action != Action::Leave) {
        note("Nothing was done. To do it: bdrctl redrive --yes");
    }
    Ok(findings.iter().all(|finding| finding.error.is_none()))
}

struct Redrive<'a> {
    operator: &'a Operator,
    dead: Queue,
    queue: Queue,
    arguments: &'a RedriveArguments,
    /// Messages met.
    seen: HashSet<String>,
    /// Requests published.
    published: HashSet<Uuid>,
}

impl Redrive<'_> {
    /// Goes on until the queue has no message that was not met.
    async fn all(
        &mut self,
        findings: &mut Vec<DeadMessage>,
        kept: &mut Vec<ReceivedMessage>,
    ) -> Result<()> {
        loop {
            let timeout = Duration::from_secs(self.arguments.visibility_timeout.into());
            let letters = self.dead.receive(timeout).await?;
            let mut news = false;
            for letter in letters {
                if self.seen.insert(letter.message_id.clone()) {
                    news = true;
                    let finding = self.one(&letter).await;
                    if !finding.done {
                        kept.push(letter);
                    }
                    findings.push(finding);
                }
            }
            if !news {
                return Ok(());
            }
        }
    }

    async fn one(&mut self, letter: &ReceivedMessage) -> DeadMessage {
        let mut finding = DeadMessage {
            message_id: letter.message_id.clone(),
            bdr_id: letter.bdr_id,
            status: None,
            action: Action::Leave,
            reason: "it is no request",
            done: false,
            error: None,
        };
        let worked = async {
            self.judge(&mut finding).await?;
            if self.arguments.yes { self.carry_out(letter, &mut finding).await } else { Ok(()) }
        };
        if let Err(error) = worked.await {
            finding.error = Some(format!("{error:#}"));
        }
        finding
    }

    async fn judge(&self, finding: &mut DeadMessage) -> Result<()> {
        let Some(bdr_id) = finding.bdr_id else { return Ok(()) };
        let request = self.operator.requests().await?.find(bdr_id).await?;
        finding.status = request.as_ref().map(|request| request.status.clone());
        (finding.action, finding.reason) = match request.map(|request| request.remedy()) {
            None => (Action::Leave, "there is no such request"),
            Some(None) => (Action::Leave, "its state is unknown here"),
            Some(Some(Remedy::Wait)) => (Action::Leave, "an attempt may be at work on it"),
            Some(Some(Remedy::Nothing)) => (Action::Delete, "it was done"),
            Some(Some(Remedy::Publish | Remedy::Reopen)) if self.published.contains(&bdr_id) => {
                (Action::Delete, "it has just been published")
            }
            Some(Some(Remedy::Publish)) => (Action::Publish, "it waits"),
            Some(Some(Remedy::Reopen)) => (Action::Retry, "it has failed"),
        };
        Ok(())
    }

    async fn carry_out(
        &mut self,
        letter: &ReceivedMessage,
        finding: &mut DeadMessage,
    ) -> Result<()> {
        let Some(bdr_id) = finding.bdr_id.filter(|_| finding.action != Action::Leave) else {
            return Ok(());
        };
        if finding.action == Action::Retry {
            let request = self.operator.request(bdr_id).await?;
            self.operator.reopen(&request).await?;
        }
        if finding.action != Action::Delete {
            self.queue.publish(bdr_id).await?;
            self.published.insert(bdr_id);
        }
        self.dead.delete(letter).await?;
        finding.done = true;
        Ok(())
    }
}

fn text(findings: &[DeadMessage]) -> String {
    if findings.is_empty() {
        return "The dead-letter queue is empty.".to_owned();
    }
    let rows = findings.iter().map(|finding| {
        let request = finding.bdr_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let action = match (finding.action, finding.done) {
            (Action::Retry, false) => "would be retried",
            (Action::Retry, true) => "retried",
            (Action::Publish, false) => "would be published",
            (Action::Publish, true) => "published",
            (Action::Delete, false) => "would be deleted",
            (Action::Delete, true) => "deleted",
            (Action::Leave, _) => "left",
        };
        let (action, reason) = match &finding.error {
            Some(error) => ("left", format!("error: {error}")),
            None => (action, finding.reason.to_owned()),
        };
        let state = finding.status.clone().unwrap_or_else(|| "-".to_owned());
        [finding.message_id.clone(), request, state, action.to_owned(), reason]
    });
    table(["message", "request", "state", "what", "why"], rows)
}
