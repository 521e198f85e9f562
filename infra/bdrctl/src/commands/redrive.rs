//! `redrive`: for each message of the dead-letter queue, reopens the row, then publishes the request,
//! then deletes the message.
//!
//! After an interruption, the message is visible again when its visibility timeout ends, and the next
//! redrive continues from the state of its row.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use shared::queue::{Queue, ReceivedMessage};
use shared::request::Remedy;
use uuid::Uuid;

use crate::arguments::RedriveArguments;
use crate::operator::Operator;
use crate::output::{Printer, note, table};

/// An action on a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// Reopen the row, publish the request, delete the message.
    Retry,
    /// Publish the request, delete the message.
    Publish,
    /// Delete the message.
    Delete,
    /// Leave the message in the dead-letter queue.
    Leave,
}

/// A message of the dead-letter queue, and the action on it.
#[derive(Debug, Serialize)]
struct DeadMessage {
    message_id: String,
    bdr_id: Option<Uuid>,
    status: Option<String>,
    action: Action,
    reason: &'static str,
    /// Whether the action is complete.
    done: bool,
    error: Option<String>,
}

/// Redrives all messages, or shows the actions.
pub(crate) async fn run(
    operator: &Operator,
    arguments: &RedriveArguments,
    printer: Printer,
) -> Result<bool> {
    let dead_letter_queue = operator.dead_letter_queue().await?;
    let queue = operator.queue().await?;
    let mut redrive = Redrive {
        operator,
        dead_letter_queue,
        queue,
        arguments,
        seen: HashSet::new(),
        published: HashSet::new(),
    };
    let (mut messages, mut kept) = (Vec::new(), Vec::new());
    let result = redrive.all(&mut messages, &mut kept).await;
    // Also after an error: without it the kept messages stay hidden until their visibility timeout ends.
    for received in &kept {
        let released = redrive.dead_letter_queue.release(received).await;
        if let Err(error) = released.with_context(|| {
            format!(
                "message {} stays hidden for up to {} s",
                received.message_id, arguments.visibility_timeout
            )
        }) {
            printer.error(&error);
        }
    }
    printer.result(&messages, || text(&messages))?;
    result?;
    if !arguments.yes && messages.iter().any(|message| message.action != Action::Leave) {
        note("Dry run: nothing was changed. To apply the changes, run `bdrctl redrive --yes`.");
    }
    Ok(messages.iter().all(|message| message.error.is_none()))
}

struct Redrive<'a> {
    operator: &'a Operator,
    dead_letter_queue: Queue,
    queue: Queue,
    arguments: &'a RedriveArguments,
    /// Ids of received messages.
    seen: HashSet<String>,
    /// Published requests.
    published: HashSet<Uuid>,
}

impl Redrive<'_> {
    /// Receives until the queue returns no new message.
    async fn all(
        &mut self,
        messages: &mut Vec<DeadMessage>,
        kept: &mut Vec<ReceivedMessage>,
    ) -> Result<()> {
        loop {
            let timeout = Duration::from_secs(self.arguments.visibility_timeout.into());
            let batch = self.dead_letter_queue.receive(timeout).await;
            let batch = batch.context("failed to receive messages from the dead-letter queue")?;
            let mut any_new = false;
            for received in batch {
                if self.seen.insert(received.message_id.clone()) {
                    any_new = true;
                    let message = self.one(&received).await;
                    if !message.done {
                        kept.push(received);
                    }
                    messages.push(message);
                }
            }
            if !any_new {
                return Ok(());
            }
        }
    }

    async fn one(&mut self, received: &ReceivedMessage) -> DeadMessage {
        let mut message = DeadMessage {
            message_id: received.message_id.clone(),
            bdr_id: received.bdr_id,
            status: None,
            action: Action::Leave,
            reason: "malformed message",
            done: false,
            error: None,
        };
        let worked = async {
            self.choose_action(&mut message).await?;
            if self.arguments.yes { self.apply(received, &mut message).await } else { Ok(()) }
        };
        if let Err(error) = worked.await {
            message.error = Some(format!("{error:#}"));
        }
        message
    }

    async fn choose_action(&self, message: &mut DeadMessage) -> Result<()> {
        let Some(bdr_id) = message.bdr_id else { return Ok(()) };
        let request = self.operator.requests().await?.find(bdr_id).await?;
        message.status = request.as_ref().map(|request| request.status.clone());
        (message.action, message.reason) = match request.map(|request| request.remedy()) {
            None => (Action::Leave, "request not found"),
            Some(None) => (Action::Leave, "unknown state"),
            Some(Some(Remedy::Wait)) => (Action::Leave, "an attempt may be running"),
            Some(Some(Remedy::Nothing)) => (Action::Delete, "request is complete"),
            Some(Some(Remedy::Publish | Remedy::Reopen)) if self.published.contains(&bdr_id) => {
                (Action::Delete, "already published by this redrive")
            }
            Some(Some(Remedy::Publish)) => (Action::Publish, "no attempt is running"),
            Some(Some(Remedy::Reopen)) => (Action::Retry, "request failed"),
        };
        Ok(())
    }

    async fn apply(&mut self, received: &ReceivedMessage, message: &mut DeadMessage) -> Result<()> {
        let Some(bdr_id) = message.bdr_id.filter(|_| message.action != Action::Leave) else {
            return Ok(());
        };
        if message.action == Action::Retry {
            let request = self.operator.request(bdr_id).await?;
            self.operator.reopen(&request).await?;
        }
        if message.action != Action::Delete {
            let published = self.queue.publish(bdr_id).await;
            published.with_context(|| format!("failed to publish request {bdr_id}"))?;
            self.published.insert(bdr_id);
        }
        let deleted = self.dead_letter_queue.delete(received).await;
        deleted.with_context(|| format!("failed to delete message {}", received.message_id))?;
        message.done = true;
        Ok(())
    }
}

fn text(messages: &[DeadMessage]) -> String {
    if messages.is_empty() {
        return "The dead-letter queue is empty.".to_owned();
    }
    let rows = messages.iter().map(|message| {
        let request = message.bdr_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let action = match (message.action, message.done) {
            (Action::Retry, false) => "would be retried",
            (Action::Retry, true) => "retried",
            (Action::Publish, false) => "would be published",
            (Action::Publish, true) => "published",
            (Action::Delete, false) => "would be deleted",
            (Action::Delete, true) => "deleted",
            (Action::Leave, _) => "left",
        };
        let (action, reason) = match &message.error {
            Some(error) => ("left", format!("error: {error}")),
            None => (action, message.reason.to_owned()),
        };
        let state = message.status.clone().unwrap_or_else(|| "-".to_owned());
        [message.message_id.clone(), request, state, action.to_owned(), reason]
    });
    table(["message", "request", "state", "action", "reason"], rows)
}
