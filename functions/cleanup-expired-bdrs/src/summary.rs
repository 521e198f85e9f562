//! The answer of the function: what a run did.

use serde::Serialize;
use uuid::Uuid;

/// Errors that the answer lists. Further ones are only counted, so that the answer stays within
/// Lambda's quota ("invocation payload", 6 MB).
const MAX_LISTED_ERRORS: usize = 1000;

/// What a run did.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    status: &'static str,
    /// Requests that the run marked `expired`.
    pub cleaned_up: usize,
    /// Stuck requests that the run marked `failed`.
    pub rescued: usize,
    /// Requests that the run published again.
    pub republished: usize,
    /// Deleted ZIPs of failed and expired requests.
    pub orphans_deleted: usize,
    /// Objects under `bdr/` that belong to no request. They are not deleted.
    pub orphans_unknown: usize,
    /// Deleted rows.
    pub purged: usize,
    /// Whether the run stopped before its deadline and left work.
    pub more: bool,
    /// Errors of single requests; `null` if there are none.
    pub errors: Option<Vec<ItemError>>,
    /// Number of errors, listed or not.
    #[serde(skip)]
    pub error_count: usize,
}

/// An error of one request.
#[derive(Debug, Clone, Serialize)]
pub struct ItemError {
    /// The request.
    pub bdr_id: String,
    /// What happened.
    pub error: String,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            status: "success",
            cleaned_up: 0,
            rescued: 0,
            republished: 0,
            orphans_deleted: 0,
            orphans_unknown: 0,
            purged: 0,
            more: false,
            errors: None,
            error_count: 0,
        }
    }
}

impl Summary {
    /// Adds an error of a request. The request stays as it is; the next run tries it again.
    pub fn add_error(&mut self, bdr_id: Uuid, error: &str) {
        tracing::error!(%bdr_id, error, "BDR {bdr_id}: cleanup failed");
        self.error_count += 1;
        let errors = self.errors.get_or_insert_default();
        if errors.len() < MAX_LISTED_ERRORS {
            errors.push(ItemError { bdr_id: bdr_id.to_string(), error: error.to_owned() });
        }
    }
}
