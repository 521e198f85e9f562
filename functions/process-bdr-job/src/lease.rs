//! The lease on the message: its visibility timeout, kept short and renewed while we live, so that
//! the message of a dead attempt is received again within two minutes.

use std::time::Duration;

use shared::failure::chain;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// The queue that the messages come from.
#[derive(Clone)]
pub struct Queue {
    client: aws_sdk_sqs::Client,
    url: String,
}

/// A message held by a heartbeat. Dropping it stops the heartbeat.
pub struct Lease {
    queue: Queue,
    receipt_handle: String,
    heartbeat: AbortOnDropHandle<()>,
}

impl Queue {
    /// The queue at `url`.
    #[must_use]
    pub fn new(client: aws_sdk_sqs::Client, url: String) -> Self {
        Self { client, url }
    }

    /// Takes the lease now and renews it at every third of `length`.
    #[must_use]
    pub fn hold(&self, receipt_handle: &str, length: Duration) -> Lease {
        let (queue, handle) = (self.clone(), receipt_handle.to_owned());
        let renewing = async move {
            let mut beats = interval(length / 3);
            // After a stall one beat is enough.
            beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                beats.tick().await;
                queue.set_visibility(&handle, length).await;
            }
        };
        Lease {
            queue: self.clone(),
            receipt_handle: receipt_handle.to_owned(),
            heartbeat: AbortOnDropHandle::new(tokio::spawn(renewing.in_current_span())),
        }
    }

    /// Makes the message visible after `delay`, if SQS lets us; if not, it is when its visibility
    /// timeout ends.
    pub async fn set_visibility(&self, receipt_handle: &str, delay: Duration) {
        let changed = self
            .client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(receipt_handle)
            .visibility_timeout(i32::try_from(delay.as_secs()).unwrap_or(i32::MAX))
            .send()
            .await;
        if let Err(error) = changed {
            tracing::warn!(
                error = chain(&error),
                "failed to change the message's visibility timeout"
            );
        }
    }
}

impl Lease {
    /// Ends the heartbeat, and only then, if a delay is given, makes the message visible after it:
    /// no later beat may undo that.
    pub async fn end(self, visible_after: Option<Duration>) {
        let Self { queue, receipt_handle, heartbeat } = self;
        heartbeat.abort();
        // An aborted task ends with an error, and that is all there is to say.
        let _ = heartbeat.await;
        if let Some(delay) = visible_after {
            queue.set_visibility(&receipt_handle, delay).await;
        }
    }
}
