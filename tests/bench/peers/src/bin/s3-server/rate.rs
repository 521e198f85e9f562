//! Limits of bytes per second.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// Bytes that are not sent within this time may be sent at once later: timers are up to 2 ms late.
const BURST: Duration = Duration::from_millis(20);

/// A limit that bodies share.
pub(crate) struct Rate {
    bytes_per_second: f64,
    /// The time at which all bytes so far have passed.
    busy_until: Mutex<Instant>,
}

impl Rate {
    pub(crate) fn mb_per_second(rate: u32) -> Self {
        let bytes_per_second = f64::from(rate) * 1e6;
        Self { bytes_per_second, busy_until: Mutex::new(Instant::now()) }
    }

    /// Waits until `bytes` have passed.
    pub(crate) async fn pass(&self, bytes: usize) {
        let now = Instant::now();
        let until = {
            let mut until = self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = (*until).max(now.checked_sub(BURST).unwrap_or(now));
            let bytes = u32::try_from(bytes).map_or(f64::MAX, f64::from);
            *until = begin + Duration::from_secs_f64(bytes / self.bytes_per_second);
            *until
        };
        if until > now {
            sleep_until(until).await;
        }
    }
}
