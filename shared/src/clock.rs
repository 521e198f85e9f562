//! The clock, injected so that a test can hold it still.
//!
//! Wall-clock decisions that concern a row (claims, expiry) use the database's clock, so that all
//! attempts agree; this one serves what never meets a row: generated-at stamps, an object's age.

use std::sync::Arc;

use time::OffsetDateTime;

/// Where the time of day comes from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> OffsetDateTime + Send + Sync>);

impl Clock {
    /// The system's clock, in UTC.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
    pub fn system() -> Self {
        Self(Arc::new(OffsetDateTime::now_utc))
    }

    /// A clock that always shows `time`.
    #[must_use]
    pub fn fixed(time: OffsetDateTime) -> Self {
        Self(Arc::new(move || time))
    }

    /// The time of day, in UTC.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        (self.0)()
    }
}
