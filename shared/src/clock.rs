//! The clock, injected so that a test can fix the time.
//!
//! Decisions about a row (claims, expiry) use the database's clock, so that all attempts agree.
//! This clock is for everything else: generated-at stamps, the age of an object, the time left.

use std::sync::Arc;

use time::OffsetDateTime;

/// A source of the current time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> OffsetDateTime + Send + Sync>);

impl Clock {
    /// Creates a clock that reads the system clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the only place that reads the system clock")]
    pub fn system() -> Self {
        Self(Arc::new(OffsetDateTime::now_utc))
    }

    /// Creates a clock that always returns `time`.
    #[must_use]
    pub fn fixed(time: OffsetDateTime) -> Self {
        Self(Arc::new(move || time))
    }

    /// Returns the current time in UTC.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        (self.0)()
    }
}
