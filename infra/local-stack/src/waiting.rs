//! Polling with a deadline.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

const PAUSE: Duration = Duration::from_millis(20);

/// Calls `look` until it finds something, and returns that.
///
/// # Errors
/// When `look` fails, or finds nothing within `patience`; `what` then completes the message
/// "timed out after 5 s waiting for …".
pub async fn wait_until<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("timed out after {} s waiting for {what}", patience.as_secs());
        }
        sleep(PAUSE).await;
    }
}
