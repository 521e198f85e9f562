//! The answer of the function to an erasure: what it deleted.

use serde::Serialize;
use tokio::time::Instant;

/// Errors that the answer lists. Further ones are only counted, so that the answer stays within
/// Lambda's quota ("invocation payload", 6 MB).
const MAX_LISTED_ERRORS: usize = 1000;

/// What an erasure did.
#[derive(Debug, Clone, Serialize)]
pub struct Erasure {
    status: &'static str,
    /// Requests that it marked `expired`.
    pub closed: usize,
    /// Objects that it deleted.
    pub erased: usize,
    /// Open uploads that it aborted.
    pub aborted_uploads: usize,
    /// Whether it stopped before its deadline and left work.
    pub more: bool,
    /// Errors of single objects; `null` if there are none.
    pub errors: Option<Vec<ObjectError>>,
    /// Number of errors, listed or not.
    #[serde(skip)]
    pub error_count: usize,
}

/// An error of one object or upload.
#[derive(Debug, Clone, Serialize)]
pub struct ObjectError {
    /// The key.
    pub key: String,
    /// What happened.
    pub error: String,
}

impl Default for Erasure {
    fn default() -> Self {
        Self {
            status: "success",
            closed: 0,
            erased: 0,
            aborted_uploads: 0,
            more: false,
            errors: None,
            error_count: 0,
        }
    }
}

impl Erasure {
    /// Adds an error of an object. The object stays; another erasure tries it again.
    pub(crate) fn add_error(&mut self, key: &str, error: String) {
        tracing::error!(key, error, "failed to erase");
        self.error_count += 1;
        let errors = self.errors.get_or_insert_default();
        if errors.len() < MAX_LISTED_ERRORS {
            errors.push(ObjectError { key: key.to_owned(), error });
        }
    }

    /// Returns whether there is time for another page; if not, records that work is left.
    pub(crate) fn has_time_left(&mut self, stop_at: Instant) -> bool {
        let has_time_left = Instant::now() < stop_at;
        self.more |= !has_time_left;
        has_time_left
    }
}
