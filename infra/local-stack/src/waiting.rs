//! Waiting by looking again, with a deadline.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

const PAUSE: Duration = Duration::from_millis(20);

/// Calls `look` until it has found something, and gives that back.
///
/// # Errors
/// When `look` fails, or has found nothing within `patience`; `what` then completes the sentence
/// "… has not happened within 5 s".
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
            bail!("{what} has not happened within {} s", patience.as_secs());
        }
        sleep(PAUSE).await;
    }
}
