//! Sends requests: counted, within a time limit, and repeated after transient errors. Their rate is
//! limited where they leave the process, by the client of the store (`s3::governor`).

use std::future::Future;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::report::{Counter, Kind};
use crate::s3;
use crate::store::{StoreError, StoreErrorKind};

/// Attempts per request.
const ATTEMPTS: u32 = 6;
/// Maximum delay before the second attempt. It doubles with every further one.
const BACKOFF: Duration = Duration::from_millis(200);
/// Time limit of a request: 20 MiB at 0.7 MB/s, or a copy of 5 GiB at 170 MB/s.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Sends requests.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    pub(crate) counter: Counter,
}

impl Sender {
    /// Sends a request until it succeeds or fails for good.
    ///
    /// # Errors
    /// The error of the last attempt.
    pub(crate) async fn send<T, F>(
        &self,
        kind: Kind,
        mut request: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut attempt = 1;
        loop {
            self.counter.count(kind, attempt > 1);
            let late = || StoreError::new(StoreErrorKind::Transient, "no response in time");
            let sent = timeout(TIMEOUT, request()).await.unwrap_or_else(|_| Err(late()));
            let error = match sent {
                Err(error) if attempt < ATTEMPTS && may_pass(&error) => error,
                result => return result,
            };
            tracing::debug!(attempt, error = %error, "sending a request to S3 again");
            sleep(backoff(attempt, &error)).await;
            attempt += 1;
        }
    }
}

/// Returns whether the same request may succeed.
pub(crate) fn may_pass(error: &StoreError) -> bool {
    matches!(error.kind, StoreErrorKind::Transient | StoreErrorKind::Throttled)
}

/// Returns the delay after this many attempts.
pub(crate) fn backoff(attempts: u32, error: &StoreError) -> Duration {
    s3::delay(BACKOFF, attempts, error.retry_after)
}
