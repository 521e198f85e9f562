//! The lease on the message: its visibility timeout, kept short and renewed while we live, so that
//! the message of a dead attempt is received again within two minutes.

use std::time::Duration;

use shared::failure::chain;
use shared::queue::Queue;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// A message held by a heartbeat. Dropping it stops the heartbeat.
pub struct Lease {
    queue: Queue,
    receipt_handle: String,
    heartbeat: AbortOnDropHandle<()>,
}

impl Lease {
    /// Sets the visibility timeout to `length` now, and again after every third of it.
    #[must_use]
    pub fn hold(queue: &Queue, receipt_handle: &str, length: Duration) -> Self {
        let (renewed, handle) = (queue.clone(), receipt_handle.to_owned());
        let renewing = async move {
            let mut beats = interval(length / 3);
            // After a stall one beat is enough.
            beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                beats.tick().await;
                set_visibility(&renewed, &handle, length).await;
            }
        };
        Self {
            queue: queue.clone(),
            receipt_handle: receipt_handle.to_owned(),
            heartbeat: AbortOnDropHandle::new(tokio::spawn(renewing.in_current_span())),
        }
    }

    /// Ends the heartbeat, and only then, if a delay is given, makes the message visible after it:
    /// no later beat may undo that.
    pub async fn end(self, visible_after: Option<Duration>) {
        let Self { queue, receipt_handle, heartbeat } = self;
        heartbeat.abort();
        // An aborted task ends with an error, and that is all there is to say.
        let _ = heartbeat.await;
        if let Some(delay) = visible_after {
            set_visibility(&queue, &receipt_handle, delay).await;
        }
    }
}

/// Makes the message visible after `delay`. When SQS rejects that, the message is visible when its
/// visibility timeout ends; the attempt goes on.
pub(crate) async fn set_visibility(queue: &Queue, receipt_handle: &str, delay: Duration) {
    if let Err(error) = queue.set_visibility(receipt_handle, delay).await {
        tracing::warn!(error = chain(&error), "failed to change the message's visibility timeout");
    }
}
