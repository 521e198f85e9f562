//! The vault and the queue as far as one request meets them.

use time::Duration;

/// A ZIP in the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Object {
    /// Tells this object from every other that stood or will stand there; also its size.
    pub(super) e_tag: u64,
    /// When it was written.
    pub(super) written: Duration,
}

/// The one key of the request's ZIP, in a bucket that is written once (`If-None-Match: *`) and
/// deleted from on condition (`If-Match`).
#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) object: Option<Object>,
    written: u64,
}

impl Bucket {
    /// Creates the object, unless there is one.
    pub(super) fn create(&mut self, now: Duration) -> Option<Object> {
        if self.object.is_some() {
            return None;
        }
        self.written += 1;
        self.object = Some(Object { e_tag: self.written, written: now });
        self.object
    }

    /// Deletes the object, if it is still this one; returns what is gone.
    pub(super) fn delete(&mut self, e_tag: u64) -> Option<Object> {
        self.object.take_if(|object| object.e_tag == e_tag)
    }
}

/// A message of the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    /// Times it was received.
    pub(super) received: u32,
    pub(super) place: Place,
}

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the queue, to be received from then on.
    Queue(Duration),
    /// In the queue, invisible as long as an attempt renews its lease.
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
pub(super) struct Queue(pub(super) Vec<Message>);

impl Queue {
    /// Sends another one.
    pub(super) fn publish(&mut self, now: Duration) {
        self.0.push(Message { received: 0, place: Place::Queue(now) });
    }

    /// Receives a message that is `wanted`; one that was received too often goes to the dead
    /// letters instead.
    pub(super) fn receive(&mut self, wanted: impl Fn(Place) -> bool) -> Option<usize> {
        let index = self.0.iter().position(|message| wanted(message.place))?;
        let message = &mut self.0[index];
        if message.received >= MAX_RECEIVE_COUNT {
            message.place = Place::DeadLetters;
            return None;
        }
        message.received += 1;
        message.place = Place::Leased;
        Some(index)
    }

    /// Messages that will be received again.
    pub(super) fn alive(&self) -> usize {
        let alive = |message: &&Message| matches!(message.place, Place::Queue(_) | Place::Leased);
        self.0.iter().filter(alive).count()
    }

    /// Takes the dead letters away, as an operator does who has seen them.
    pub(super) fn clear_dead_letters(&mut self) {
        for message in self.0.iter_mut().filter(|message| message.place == Place::DeadLetters) {
            message.place = Place::Deleted;
        }
    }

    /// Whether a message went to the dead letters.
    pub(super) fn has_dead_letters(&self) -> bool {
        self.0.iter().any(|message| message.place == Place::DeadLetters)
    }
}
