//! Models of the vault and the queue, for a single request.

use time::Duration;

/// A ZIP in the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ObjectModel {
    /// Identifies this object among all that the key ever had; also its size.
    pub(super) e_tag: u64,
    /// Time of the write.
    pub(super) written: Duration,
}

/// The key of the request's ZIP, in a bucket with conditional writes (`If-None-Match: *`) and
/// conditional deletes (`If-Match`).
#[derive(Debug, Default)]
pub(super) struct BucketModel {
    pub(super) object: Option<ObjectModel>,
    written: u64,
}

impl BucketModel {
    /// Creates the object, unless one exists.
    pub(super) fn create(&mut self, now: Duration) -> Option<ObjectModel> {
        if self.object.is_some() {
            return None;
        }
        self.written += 1;
        self.object = Some(ObjectModel { e_tag: self.written, written: now });
        self.object
    }

    /// Deletes the object if it has this tag. Returns the deleted object.
    pub(super) fn delete(&mut self, e_tag: u64) -> Option<ObjectModel> {
        self.object.take_if(|object| object.e_tag == e_tag)
    }
}

/// A message of the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct MessageModel {
    /// Receive count.
    pub(super) received: u32,
    pub(super) state: MessageState,
}

/// The state of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageState {
    /// In the queue, visible from this time on.
    Queued(Duration),
    /// In the queue, invisible while an attempt renews its lease.
    Leased,
    /// Acknowledged.
    Deleted,
    /// In the dead-letter queue.
    DeadLetters,
}

/// `maxReceiveCount` of the queue.
pub(super) const MAX_RECEIVE_COUNT: u32 = 4;
/// `LEASE_SECONDS`.
pub(super) const LEASE: Duration = Duration::seconds(120);

/// The request's messages in the queue.
#[derive(Debug, Default)]
pub(super) struct QueueModel(pub(super) Vec<MessageModel>);

impl QueueModel {
    /// Sends another message.
    pub(super) fn publish(&mut self, now: Duration) {
        self.0.push(MessageModel { received: 0, state: MessageState::Queued(now) });
    }

    /// Receives the first message whose state is `wanted`, and returns its index. A message with
    /// too high a receive count becomes a dead letter instead.
    pub(super) fn receive(&mut self, wanted: impl Fn(MessageState) -> bool) -> Option<usize> {
        let index = self.0.iter().position(|message| wanted(message.state))?;
        let message = &mut self.0[index];
        if message.received >= MAX_RECEIVE_COUNT {
            message.state = MessageState::DeadLetters;
            return None;
        }
        message.received += 1;
        message.state = MessageState::Leased;
        Some(index)
    }

    /// Returns the number of messages that will be received again.
    pub(super) fn alive(&self) -> usize {
        let alive = |message: &&MessageModel| {
            matches!(message.state, MessageState::Queued(_) | MessageState::Leased)
        };
        self.0.iter().filter(alive).count()
    }

    /// Deletes the dead letters, as an operator does after a redrive.
    pub(super) fn clear_dead_letters(&mut self) {
        for message in
            self.0.iter_mut().filter(|message| message.state == MessageState::DeadLetters)
        {
            message.state = MessageState::Deleted;
        }
    }

    /// Returns whether the dead-letter queue has a message.
    pub(super) fn has_dead_letters(&self) -> bool {
        self.0.iter().any(|message| message.state == MessageState::DeadLetters)
    }
}
