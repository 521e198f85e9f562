//! `redrive`: for each message of the dead-letter queue, reopens the row, then publishes the request,
//! then deletes the message.
//!
//! After an interruption, the message is visible again when its visibility timeout ends, and the next
//! redrive continues from the state of its row.
//!
//! With `--discard`, it only deletes messages that no redrive can help: those that are not requests, and
//! those whose request does not exist or is closed.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use shared::clock::Clock;
use shared::queue::{Publication, Queue, ReceivedMessage};
use shared::request::Remedy;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::arguments::RedriveArguments;
use crate::operator::Operator;
use crate::output::{Printer, age, confirm, escaped, note, table};

/// Characters of a body in the table: those of a request and some more. JSON has the whole body.
const MAX_BODY: usize = 80;

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
    /// The body, with addresses and queries of URLs hidden.
    body: String,
    /// The time of the first send.
    #[serde(with = "time::serde::rfc3339::option")]
    sent_at: Option<OffsetDateTime>,
    status: Option<String>,
    action: Action,
    reason: &'static str,
    /// Whether the action is complete.
    done: bool,
    error: Option<String>,
}

/// Redrives or discards messages, or shows the actions. Returns whether the command left no message that it
/// should have redriven or discarded, or (of a dry run) whether it could decide about every message.
pub(crate) async fn run(
    operator: &Operator,
    arguments: &RedriveArguments,
    printer: Printer,
) -> Result<bool> {
    if !arguments.yes {
        let (messages, result) = pass(operator, arguments, None, printer).await?;
        print(&messages, result, printer)?;
        let ids = messages.iter().filter(|message| message.action != Action::Leave);
        let ids: HashSet<String> = ids.map(|message| message.message_id.clone()).collect();
        let is_decided = messages.iter().all(|message| message.error.is_none());
        if ids.is_empty() {
            return Ok(is_decided);
        }
        if !arguments.discard || printer.is_json() || !confirm_discard(ids.len())? {
            let discard = if arguments.discard { " --discard" } else { "" };
            note(&format!(
                "Dry run: nothing was changed. To apply the changes, run `bdrctl redrive{discard} --yes`."
            ));
            return Ok(is_decided);
        }
        return apply(operator, arguments, &Selection::Of(ids), printer).await;
    }
    apply(operator, arguments, &Selection::All, printer).await
}

/// Applies the actions on the selected messages. Returns whether no message is left.
async fn apply(
    operator: &Operator,
    arguments: &RedriveArguments,
    selection: &Selection,
    printer: Printer,
) -> Result<bool> {
    let (messages, result) = pass(operator, arguments, Some(selection), printer).await?;
    print(&messages, result, printer)?;
    let left = messages.iter().filter(|message| !message.done).count();
    if left > 0 && !arguments.discard {
        note(
            "To delete messages that are not requests, or whose request does not exist or is closed, run \
             `bdrctl redrive --discard`.",
        );
    }
    Ok(left == 0)
}

fn confirm_discard(count: usize) -> Result<bool> {
    let messages = if count == 1 { "1 message".to_owned() } else { format!("{count} messages") };
    let question = format!("Delete {messages}? The requests and their archives stay as they are.");
    Ok(confirm(&question)?.unwrap_or_default())
}

/// The messages on which a redrive acts.
enum Selection {
    All,
    /// Messages with these ids.
    Of(HashSet<String>),
}

impl Selection {
    fn contains(&self, message_id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Of(ids) => ids.contains(message_id),
        }
    }
}

/// Receives all messages once, and applies the actions on those of `selection`. Returns the messages so far
/// and the error that ended the pass early.
async fn pass(
    operator: &Operator,
    arguments: &RedriveArguments,
    selection: Option<&Selection>,
    printer: Printer,
) -> Result<(Vec<DeadMessage>, Result<()>)> {
    let dead_letter_queue = operator.dead_letter_queue().await?;
    let queue = operator.queue().await?;
    let mut redrive = Redrive {
        operator,
        dead_letter_queue,
        queue,
        arguments,
        selection,
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
    Ok((messages, result))
}

struct Redrive<'a> {
    operator: &'a Operator,
    dead_letter_queue: Queue,
    queue: Queue,
    arguments: &'a RedriveArguments,
    /// The messages to act on; `None` for a dry run.
    selection: Option<&'a Selection>,
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
            body: without_secrets(&received.body),
            sent_at: received.sent_at,
            status: None,
            action: Action::Leave,
            reason: "malformed message",
            done: false,
            error: None,
        };
        let worked = async {
            self.choose_action(&mut message).await?;
            match self.selection {
                Some(selection) if selection.contains(&received.message_id) => {
                    self.apply(received, &mut message).await
                }
                _ => Ok(()),
            }
        };
        if let Err(error) = worked.await {
            message.error = Some(format!("{error:#}"));
        }
        message
    }

    async fn choose_action(&self, message: &mut DeadMessage) -> Result<()> {
        let discard = self.arguments.discard;
        let Some(bdr_id) = message.bdr_id else {
            message.action = if discard { Action::Delete } else { Action::Leave };
            return Ok(());
        };
        let request = self.operator.requests().await?.find(bdr_id).await?;
        message.status = request.as_ref().map(|request| request.status.clone());
        let is_exporting = match &request {
            Some(request) => self.operator.is_exporting(request).await?,
            None => false,
        };
        let remedy = request.map(|request| request.remedy());
        (message.action, message.reason) = match remedy {
            None if discard => (Action::Delete, "request not found"),
            None => (Action::Leave, "request not found"),
            Some(None) => (Action::Leave, "unknown state"),
            Some(Some(_)) if is_exporting => (Action::Leave, "its large export is running"),
            Some(Some(Remedy::Wait)) => (Action::Leave, "an attempt may be running"),
            Some(Some(Remedy::Nothing)) => (Action::Delete, "request is complete"),
            Some(Some(Remedy::Reopen)) if discard => (Action::Delete, "request failed"),
            Some(Some(Remedy::Publish)) if discard => (Action::Leave, "request is open"),
            Some(Some(Remedy::Publish | Remedy::Reopen)) if self.published.contains(&bdr_id) => {
                (Action::Delete, "already published by this redrive")
            }
            Some(Some(Remedy::Publish)) => (Action::Publish, "no attempt is running"),
            Some(Some(Remedy::Reopen)) => (Action::Retry, "request failed"),
        };
        Ok(())
    }

    async fn apply(&mut self, received: &ReceivedMessage, message: &mut DeadMessage) -> Result<()> {
        if message.action == Action::Leave {
            return Ok(());
        }
        if let Some(bdr_id) = message.bdr_id.filter(|_| message.action != Action::Delete) {
            let request = self.operator.request(bdr_id).await?;
            if message.action == Action::Retry {
                self.operator.reopen(&request).await?;
            }
            let publication = Publication { bdr_id, user_id: request.user_id };
            let published = self.queue.publish(publication).await;
            published.with_context(|| format!("failed to publish request {bdr_id}"))?;
            self.published.insert(bdr_id);
        }
        let deleted = self.dead_letter_queue.delete(received).await;
        deleted.with_context(|| format!("failed to delete message {}", received.message_id))?;
        message.done = true;
        Ok(())
    }
}

/// Prints the messages of a pass. Returns the error that ended it early.
fn print(messages: &[DeadMessage], result: Result<()>, printer: Printer) -> Result<()> {
    if messages.is_empty() {
        result?;
        printer.empty("The dead-letter queue is empty.")?;
        return Ok(());
    }
    printer.result(&messages, || text(messages))?;
    result
}

fn text(messages: &[DeadMessage]) -> String {
    let now = Clock::system().now();
    let rows = messages.iter().map(|message| {
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
        let age = message.sent_at.map_or_else(|| "-".to_owned(), |sent_at| age(now - sent_at));
        [age, state, action.to_owned(), reason, shortened(&message.body)]
    });
    table(["age", "state", "action", "reason", "body"], rows)
}

/// Hides the words of a body that contain an e-mail address or a URL with a query, which may be presigned:
/// operators paste this output into tickets.
fn without_secrets(body: &str) -> String {
    let ends_word = |c: char| c.is_whitespace() || "\"',<>{}[]()".contains(c);
    let words = body.split_inclusive(ends_word).map(|word| {
        let text = word.trim_end_matches(ends_word);
        let is_address = text.contains('@') || text.contains("%40");
        let is_query = text.contains("://") && text.contains('?');
        if is_address || is_query { word.replace(text, "[hidden]") } else { word.to_owned() }
    });
    words.collect()
}

/// Returns the beginning of a body, without control characters.
fn shortened(body: &str) -> String {
    let mut characters = body.chars();
    let mut text: String = characters.by_ref().take(MAX_BODY).collect();
    if characters.next().is_some() {
        text.push('…');
    }
    escaped(&text)
}

#[cfg(test)]
mod tests {
    use super::{shortened, without_secrets};

    #[test]
    fn addresses_and_queries_of_a_body_are_hidden() {
        let hidden = without_secrets(r#"{"to": "a@b.example", "url":"https://a/b?c=d","id":7}"#);
        assert_eq!(hidden, r#"{"to": "[hidden]", "url":"[hidden]","id":7}"#);
        assert_eq!(without_secrets("a%40b.example"), "[hidden]");
        assert_eq!(without_secrets("\"7?\" \"x\""), "\"7?\" \"x\"");
    }

    #[test]
    fn a_body_is_shortened_and_has_no_control_characters() {
        assert_eq!(shortened("{\"bdr_id\": \"ä\"}"), "{\"bdr_id\": \"ä\"}");
        assert_eq!(shortened("\u{1b}[2J\n"), "\\u{1b}[2J\\n");
        assert_eq!(shortened(&"x".repeat(1000)).chars().count(), 81);
    }
}
