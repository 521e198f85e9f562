//! The lease on a message: a short visibility timeout that a heartbeat renews while the attempt lives,
//! so that SQS delivers the message of a dead attempt again within two minutes.

use std::time::Duration;

use shared::failure::chain;
use shared::queue::Queue;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// A message that a heartbeat keeps invisible. Dropping it stops the heartbeat.
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
            // One beat is enough after a stall.
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

    /// Ends the heartbeat, then sets the message's visibility to `visible_after`, if given. No later
    /// beat undoes that.
    pub async fn end(self, visible_after: Option<Duration>) {
        let Self { queue, receipt_handle, heartbeat } = self;
        heartbeat.abort();
        // An aborted task returns an error by design.
        let _ = heartbeat.await;
        if let Some(delay) = visible_after {
            set_visibility(&queue, &receipt_handle, delay).await;
        }
    }
}

/// Makes the message visible after `delay`. If SQS rejects the call, the message becomes visible when
/// its visibility timeout ends, and the attempt continues.
pub(crate) async fn set_visibility(queue: &Queue, receipt_handle: &str, delay: Duration) {
    if let Err(error) = queue.set_visibility(receipt_handle, delay).await {
        tracing::warn!(error = chain(&error), "failed to change the message's visibility timeout");
    }
}
