//! Retries as the SDK makes them in its standard mode.

use std::time::Duration;

use tokio::time::sleep;

use super::Error;

/// The average delay before the second attempt is half of it, and it doubles with every further one
/// (`RetryConfig::standard`).
const INITIAL_BACKOFF: Duration = Duration::from_secs(1);
/// Maximum delay, before the jitter.
const MAX_BACKOFF: Duration = Duration::from_secs(20);

/// Sends a request up to `attempts` times, until it succeeds or returns an error that is not
/// transient.
///
/// The delays are those of the SDK's standard mode: full jitter over 1, 2, 4 … 20 s, or the delay
/// that S3 asks for.
///
/// # Errors
/// The error of the last attempt.
pub async fn with_retries<T, F>(attempts: u32, mut request: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut attempt = 1;
    loop {
        let error = match request().await {
            Err(error) if error.is_transient() && attempt < attempts => error,
            result => return result,
        };
        let delay = delay(INITIAL_BACKOFF, attempt, error.retry_after());
        tracing::debug!(attempt, error = %error, ?delay, "sending a request to S3 again");
        sleep(delay).await;
        attempt += 1;
    }
}

/// Returns the delay after this many attempts: the one that S3 asks for, or full jitter over `initial`,
/// which doubles with every attempt. At most [`MAX_BACKOFF`].
pub(crate) fn delay(initial: Duration, attempts: u32, retry_after: Option<Duration>) -> Duration {
    if let Some(asked) = retry_after {
        return asked.min(MAX_BACKOFF);
    }
    let backoff = initial.saturating_mul(2_u32.saturating_pow(attempts - 1));
    backoff.min(MAX_BACKOFF).mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{INITIAL_BACKOFF, delay};

    #[test]
    fn delays_double_up_to_20_seconds_and_obey_s3() {
        for (attempts, max) in [(1, 1), (2, 2), (5, 16), (6, 20), (60, 20)] {
            let longest = (0..1_000).map(|_| delay(INITIAL_BACKOFF, attempts, None)).max().unwrap();
            let max = Duration::from_secs(max);
            assert!(longest <= max && longest > max.mul_f64(0.9), "{attempts}: {longest:?}");
        }
        let asked = |seconds| delay(INITIAL_BACKOFF, 1, Some(Duration::from_secs(seconds)));
        assert_eq!([asked(3), asked(3600)], [3, 20].map(Duration::from_secs));
    }
}
