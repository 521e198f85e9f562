//! What a run has done, as it answers whoever invoked it.

use serde::Serialize;
use uuid::Uuid;

/// Errors listed by name; further ones are only counted, so that the answer stays within Lambda's
/// payload ("invocation payload", 6 MB).
const LISTED_ERRORS: usize = 1000;

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    status: &'static str,
    /// Requests that became `expired`.
    pub cleaned_up: usize,
    /// Requests that were stuck, and became `failed`.
    pub rescued: usize,
    /// Messages sent again.
    pub republished: usize,
    /// ZIPs deleted whose requests no longer want them.
    pub orphans_deleted: usize,
    /// Objects under `bdr/` that belong to no request, and were left alone.
    pub orphans_unknown: usize,
    /// Rows deleted.
    pub purged: usize,
    /// Whether the run stopped before its deadline with work left.
    pub more: bool,
    /// What went wrong with single items; `null` when nothing did.
    pub errors: Option<Vec<ItemError>>,
    /// How many errors there were.
    #[serde(skip)]
    pub error_count: usize,
}

/// What went wrong with one request.
#[derive(Debug, Clone, Serialize)]
pub struct ItemError {
    /// The request; for an object of no known request its key.
    pub bdr_id: String,
    /// What went wrong.
    pub error: String,
}

impl Default for Report {
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

impl Report {
    /// Records what went wrong with a request. It is left as it is, for the next run.
    pub fn error(&mut self, bdr_id: Uuid, error: &str) {
        tracing::error!(%bdr_id, error, "BDR {bdr_id}: cleanup failed");
        self.error_count += 1;
        let errors = self.errors.get_or_insert_default();
        if errors.len() < LISTED_ERRORS {
            errors.push(ItemError { bdr_id: bdr_id.to_string(), error: error.to_owned() });
        }
    }
}
