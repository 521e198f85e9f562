//! One attempt at a request: the receive of the message that it serves, its deadlines and delays.

use std::time::Duration;

use shared::trace::RootSpan;
use time::OffsetDateTime;
use tokio::time::Instant;

/// Maximum delay before the next attempt. It outlasts the failover of a database.
const MAX_DELAY: Duration = Duration::from_mins(10);
/// Time before the deadline that is reserved for aborting the upload, changing the row and returning the
/// message.
const DEADLINE_GUARD: Duration = Duration::from_secs(20);
/// Time before the deadline that is reserved for releasing the row, should it fail to become `ready`.
/// It is shorter than [`DEADLINE_GUARD`], so that an archive completed at that guard still becomes
/// `ready`.
const READY_GUARD: Duration = Duration::from_secs(10);
/// Time before the deadline that is reserved for the e-mail about the changed row, or for the mark of an
/// e-mail that may be due. It is longer than [`RETURN_GUARD`], so that a row which changes at the last
/// moment still leads to its e-mail.
const ROW_GUARD: Duration = Duration::from_secs(4);
/// Time before the deadline that is reserved for changing the message's visibility after the e-mail.
const RETURN_GUARD: Duration = Duration::from_secs(2);
/// Time before the deadline that is reserved for completing the archive without outstanding artworks.
const ARTWORK_GUARD: Duration = Duration::from_mins(2);

/// Receives of a message whose row does not exist, after each of which the message returns: the API
/// may publish a message before it commits the row.
const RECEIVES_WITHOUT_ROW: u32 = 2;

/// One attempt.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// The message's `ApproximateReceiveCount`, from 1.
    pub receive_count: u32,
    /// `maxReceiveCount` of the queue's redrive policy.
    pub max_receive_count: u32,
    /// The time at which the message was sent, if SQS tells it.
    pub sent_at: Option<OffsetDateTime>,
    /// The time at which the attempt began.
    pub begun_at: Instant,
    /// The time at which Lambda ends the invocation.
    pub deadline: Instant,
    /// The delay before the second attempt, without jitter. Each later delay is four times as long, up to
    /// 10 minutes.
    pub retry_base: Duration,
    /// The span of the attempt, if tracing is on.
    pub span: Option<RootSpan>,
}

impl Attempt {
    /// Returns whether this is the last receive: if the message returns, SQS moves it to the dead-letter
    /// queue.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.receive_count >= self.max_receive_count
    }

    /// Returns whether a message whose row does not exist returns to the queue. Otherwise the request
    /// is unknown, and its message is dropped.
    #[must_use]
    pub fn waits_for_row(&self) -> bool {
        self.receive_count <= RECEIVES_WITHOUT_ROW && !self.is_last()
    }

    /// Returns the time at which the attempt stops itself.
    #[must_use]
    pub fn stop_at(&self) -> Instant {
        self.before_deadline(DEADLINE_GUARD)
    }

    /// Returns the time at which vault artworks that S3 has not returned become missing. `None` before the
    /// last receive: the attempt then stops and is retried.
    #[must_use]
    pub fn vault_stop_at(&self) -> Option<Instant> {
        self.is_last().then(|| self.remote_stop_at())
    }

    /// Returns the time at which outstanding remote artworks are recorded as missing.
    #[must_use]
    pub fn remote_stop_at(&self) -> Instant {
        self.before_deadline(ARTWORK_GUARD)
    }

    /// Returns the time at which the change of the row to `ready` is given up.
    #[must_use]
    pub fn ready_stop_at(&self) -> Instant {
        self.before_deadline(READY_GUARD)
    }

    /// Returns the time at which the release or failure of the row is given up.
    #[must_use]
    pub fn row_stop_at(&self) -> Instant {
        self.before_deadline(ROW_GUARD)
    }

    /// Returns the time limit of the e-mail and of its mark. It is later than [`Attempt::stop_at`], so that an attempt that
    /// fails at that time can still inform the artist.
    #[must_use]
    pub fn email_stop_at(&self) -> Instant {
        self.before_deadline(RETURN_GUARD)
    }

    /// Returns the time for which the message stays invisible before the next attempt: exponential
    /// backoff, half fixed and half random, so that requests that failed together do not retry together.
    #[must_use]
    pub fn retry_delay(&self) -> Duration {
        let exponent = self.receive_count.saturating_sub(1).min(8);
        jittered(self.retry_base.saturating_mul(4_u32.pow(exponent)).min(MAX_DELAY))
    }

    fn before_deadline(&self, guard: Duration) -> Instant {
        self.deadline.checked_sub(guard).unwrap_or(self.deadline)
    }
}

/// Exponential backoff between a first and a maximum delay, without jitter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    /// Returns the backoff from the first to the maximum delay.
    pub(crate) fn new((first, max): (Duration, Duration)) -> Self {
        Self { next: first, max }
    }

    /// Returns the delay to wait now. The following one is twice as long.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = self.next.saturating_mul(2).min(self.max);
        delay
    }
}

/// Returns a random delay between zero and `full` ("full jitter"; AWS Architecture Blog, "Exponential
/// Backoff And Jitter").
pub(crate) fn full_jitter(full: Duration) -> Duration {
    full.mul_f64(fastrand::f64())
}

/// Returns a random delay between half of `full` and `full`.
pub(crate) fn jittered(full: Duration) -> Duration {
    full.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Attempt;

    #[test]
    fn delays_grow_to_ten_minutes_with_half_as_jitter() {
        for (receive_count, full) in [(0, 60), (1, 60), (2, 240), (3, 600), (4, 600), (1000, 600)] {
            let attempt = Attempt {
                receive_count,
                max_receive_count: 4,
                sent_at: None,
                begun_at: Instant::now(),
                deadline: Instant::now(),
                retry_base: Duration::from_mins(1),
                span: None,
            };
            for _ in 0..100 {
                let delay = attempt.retry_delay();
                assert!(delay >= Duration::from_secs(full / 2), "{receive_count}: {delay:?}");
                assert!(delay <= Duration::from_secs(full), "{receive_count}: {delay:?}");
            }
        }
    }
}
