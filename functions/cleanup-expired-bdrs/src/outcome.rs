//! The outcome of a run: the outcome line, the metrics and the result of the invocation follow from
//! it.

use shared::failure::{Failure, chain};

use crate::summary::Summary;

/// The outcome of a run, with what the run did until then.
pub(crate) enum RunOutcome {
    /// All tasks ended.
    Success(Summary),
    /// A task failed.
    Failed(Failure, Summary),
    /// A task panicked.
    Panicked(Summary),
    /// The run was dropped before it ended.
    Cancelled(Summary),
}

impl RunOutcome {
    /// Returns `result` of the outcome line, which is also `status` of the metrics.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Success(_) => "success",
            Self::Failed(..) => "failed",
            Self::Panicked(_) => "panicked",
            Self::Cancelled(_) => "cancelled",
        }
    }

    /// Returns whether all tasks ended.
    pub(crate) fn is_success(&self) -> bool {
        matches!(self, Self::Success(_))
    }

    /// Returns what the run did.
    pub(crate) fn summary(&self) -> &Summary {
        match self {
            Self::Success(summary)
            | Self::Failed(_, summary)
            | Self::Panicked(summary)
            | Self::Cancelled(summary) => summary,
        }
    }

    /// Returns the failure and its causes on one line. The panic hook logs the text of a panic
    /// (`shared::telemetry`).
    pub(crate) fn error(&self) -> Option<String> {
        match self {
            Self::Failed(failure, _) => Some(chain(failure)),
            Self::Success(_) | Self::Panicked(_) | Self::Cancelled(_) => None,
        }
    }

    /// Returns the result of the invocation.
    pub(crate) fn into_result(self) -> Result<Summary, Failure> {
        match self {
            Self::Success(summary) => Ok(summary),
            Self::Failed(failure, _) => Err(failure),
            Self::Panicked(_) => Err(Failure::retry(
                "the cleanup panicked",
                "this is a defect; the log line `panicked: …` names its place",
            )),
            Self::Cancelled(_) => {
                Err(Failure::retry("the cleanup was cancelled", "its invocation was dropped"))
            }
        }
    }
}
