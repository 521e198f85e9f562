//! One attempt at a request: which receive of the message it is, how long it may take, and what
//! becomes of the message.

use std::time::Duration;

use tokio::time::Instant;

/// Longest delay before another attempt: it outlasts the failover of a database.
const MAX_DELAY: Duration = Duration::from_mins(10);
/// Kept before the deadline for giving up in good order.
const DEADLINE_GUARD: Duration = Duration::from_secs(20);
/// Kept before the deadline for giving the message back once the artist has been told.
const RETURN_GUARD: Duration = Duration::from_secs(5);
/// Kept before the deadline for closing the ZIP without the remote artworks still outstanding.
const REMOTE_GUARD: Duration = Duration::from_mins(2);

/// One attempt.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// `ApproximateReceiveCount` of the message, from 1.
    pub receive_count: u32,
    /// `maxReceiveCount` of the queue's redrive policy.
    pub max_receive_count: u32,
    /// When Lambda ends the invocation.
    pub deadline: Instant,
    /// The delay before the second attempt, to within its jitter; each later one is four times
    /// longer.
    pub retry_base: Duration,
}

/// What becomes of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It is deleted.
    Acknowledge,
    /// It is received again, or goes to the dead-letter queue: after this delay, or, with `None`,
    /// when its visibility timeout ends.
    Return(Option<Duration>),
}

impl Attempt {
    /// Whether the queue moves the message to the dead-letter queue after this receive.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.receive_count >= self.max_receive_count
    }

    /// When the attempt stops by itself.
    #[must_use]
    pub fn stop_at(&self) -> Instant {
        self.deadline.checked_sub(DEADLINE_GUARD).unwrap_or(self.deadline)
    }

    /// When remote artworks still outstanding are recorded as missing.
    #[must_use]
    pub fn remote_stop_at(&self) -> Instant {
        self.deadline.checked_sub(REMOTE_GUARD).unwrap_or(self.deadline)
    }

    /// When an e-mail about a failure is given up: settling happens after [`Attempt::stop_at`].
    #[must_use]
    pub fn email_until(&self) -> Instant {
        self.deadline.checked_sub(RETURN_GUARD).unwrap_or(self.deadline)
    }

    /// How long the message stays invisible before the next attempt: exponential, half of it fixed
    /// and half random, so that requests that failed together do not come back together.
    #[must_use]
    pub fn retry_delay(&self) -> Duration {
        let exponent = self.receive_count.saturating_sub(1).min(8);
        let full = self.retry_base.saturating_mul(4_u32.pow(exponent)).min(MAX_DELAY);
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Attempt;

    #[test]
    fn delays_grow_to_ten_minutes_and_keep_half_of_themselves() {
        for (receive_count, full) in [(0, 60), (1, 60), (2, 240), (3, 600), (4, 600), (1000, 600)] {
            let attempt = Attempt {
                receive_count,
                max_receive_count: 4,
                deadline: Instant::now(),
                retry_base: Duration::from_mins(1),
            };
            for _ in 0..100 {
                let delay = attempt.retry_delay();
                assert!(delay >= Duration::from_secs(full / 2), "{receive_count}: {delay:?}");
                assert!(delay <= Duration::from_secs(full), "{receive_count}: {delay:?}");
            }
        }
    }
}
