//! Polling with a deadline.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

const PAUSE: Duration = Duration::from_millis(20);
/// Minimum number of looks. A machine that stands still for a while, as virtual machines do, otherwise ends every wait.
const MIN_LOOKS: u32 = 10;

/// Calls `look` until it finds something, and returns that.
///
/// # Errors
/// When `look` fails, or finds nothing within `patience` and ten calls; `what` then completes the message
/// "timed out after 5 s waiting for …".
pub async fn wait_until<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let mut waited = Duration::ZERO;
    loop {
        let begun_at = Instant::now();
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if waited >= patience {
            bail!("timed out after {} s waiting for {what}", patience.as_secs());
        }
        sleep(PAUSE).await;
        waited += begun_at.elapsed().min(patience / MIN_LOOKS);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::wait_until;

    const PATIENCE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_wait_ends_after_its_patience() {
        let nothing = wait_until("it", PATIENCE, async || Ok(None::<()>)).await.unwrap_err();
        assert_eq!(nothing.to_string(), "timed out after 0 s waiting for it");
    }

    #[tokio::test]
    async fn a_machine_that_stood_still_has_time_left() {
        let mut looks = 0;
        let found = wait_until("it", PATIENCE, async || {
            looks += 1;
            if looks == 1 {
                std::thread::sleep(2 * PATIENCE);
            }
            Ok((looks == 3).then_some(()))
        });
        found.await.unwrap();
    }
}
