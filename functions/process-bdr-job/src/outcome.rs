//! The outcome of an attempt: the one value from which the message's fate, the outcome line of the
//! log, and the metrics follow.

use std::time::Duration;

use shared::database::DatabaseError;
use shared::failure::{Decision, Failure, chain};
use tracing::Level;

use crate::archive::StoredArchive;
use crate::attempt::Attempt;
use crate::email::EmailOutcome;

/// How an attempt ended.
#[derive(Debug)]
pub enum AttemptOutcome {
    /// This attempt marked the row `ready`.
    Ready {
        /// The archive that the row points to.
        archive: StoredArchive,
        /// The fate of the e-mail.
        email: EmailOutcome,
    },
    /// This attempt marked the row `failed`.
    Failed {
        /// The cause.
        failure: Failure,
        /// The fate of the e-mail.
        email: EmailOutcome,
    },
    /// This attempt left the rest of its request to the state machine of large exports.
    Exported,
    /// This attempt failed and released the row to `pending` for the next one.
    Retried {
        /// The cause.
        failure: Failure,
    },
    /// The row was already `ready`, `failed` or `expired`, or in an unknown state.
    Skipped,
    /// The row does not exist yet; the message returns after a few seconds.
    RowAbsent,
    /// The row does not exist, and did not exist at the receives before either.
    NotFound,
    /// The row was closed or deleted during this attempt, by another attempt or by the cleanup.
    Closed {
        /// What this attempt achieved.
        work: Result<StoredArchive, Failure>,
    },
    /// A newer attempt holds the row.
    Superseded {
        /// What this attempt achieved.
        work: Result<StoredArchive, Failure>,
    },
    /// The claim failed. The row is unchanged, or `processing` if only the response was lost.
    Unclaimed {
        /// The cause.
        failure: Failure,
    },
    /// The attempt failed, and the row could not be updated either.
    Unsettled {
        /// The cause of the attempt's failure.
        failure: Failure,
        /// The cause of the update's failure.
        error: DatabaseError,
    },
    /// The message body is not `{"bdr_id": "<uuid>"}`.
    Malformed {
        /// The parser's error.
        error: String,
    },
    /// The attempt panicked outside the boundaries that turn a panic into a failure.
    Panicked,
    /// The attempt was dropped before it ended.
    Cancelled,
}

/// The change of the row after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowChange {
    /// `processing` → `pending`: another attempt follows.
    Release,
    /// `processing` → `failed`.
    Fail,
}

/// Delay before a message whose row does not exist is received again. A transaction of the API that
/// has not committed by then is unusual.
const ROW_DELAY: Duration = Duration::from_secs(5);

/// What happens to the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageFate {
    /// Lambda deletes it from the queue.
    Delete,
    /// SQS delivers it again, or moves it to the dead-letter queue.
    Return {
        /// The delay; `None` leaves the visibility timeout as it is.
        visible_after: Option<Duration>,
    },
}

impl RowChange {
    /// Returns `Release` for a retryable failure while receives are left, and `Fail` otherwise.
    pub(crate) fn after(failure: &Failure, attempt: &Attempt) -> Self {
        match failure.decision() {
            Decision::Retry if !attempt.is_last() => Self::Release,
            Decision::Retry | Decision::Fail => Self::Fail,
        }
    }
}

impl AttemptOutcome {
    /// The values of [`AttemptOutcome::result`].
    pub const RESULTS: [&str; 14] = [
        "ready",
        "failed",
        "exported",
        "retried",
        "skipped",
        "row_absent",
        "not_found",
        "closed",
        "superseded",
        "unclaimed",
        "unsettled",
        "malformed",
        "panicked",
        "cancelled",
    ];

    /// Returns the name of the outcome: `result` of the outcome line and the dimension `status` of
    /// `bdr_status_total`.
    #[must_use]
    pub fn result(&self) -> &'static str {
        match self {
            Self::Ready { .. } => "ready",
            Self::Failed { .. } => "failed",
            Self::Exported => "exported",
            Self::Retried { .. } => "retried",
            Self::Skipped => "skipped",
            Self::RowAbsent => "row_absent",
            Self::NotFound => "not_found",
            Self::Closed { .. } => "closed",
            Self::Superseded { .. } => "superseded",
            Self::Unclaimed { .. } => "unclaimed",
            Self::Unsettled { .. } => "unsettled",
            Self::Malformed { .. } => "malformed",
            Self::Panicked => "panicked",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the text of the outcome line.
    pub(crate) fn message(&self) -> &'static str {
        match self {
            Self::Ready { .. } => "request is ready",
            Self::Failed { .. } => "request failed",
            Self::Exported => "request is large; the state machine continues",
            Self::Retried { .. } => "attempt failed; another one follows",
            Self::Skipped => "request is already closed; nothing to do",
            Self::RowAbsent => "row does not exist yet; the message returns",
            Self::NotFound => "request not found",
            Self::Closed { .. } => "request was closed or deleted during the attempt",
            Self::Superseded { .. } => "a newer attempt holds the request",
            Self::Unclaimed { .. } => "failed to claim the request, or to look for its due e-mail",
            Self::Unsettled { .. } => "attempt failed, and updating its row failed as well",
            Self::Malformed { .. } => {
                "message is not {\"bdr_id\": \"<uuid>\"}; it moves to the dead-letter queue after its last receive"
            }
            Self::Panicked => "attempt panicked",
            Self::Cancelled => "attempt was cancelled",
        }
    }

    /// Returns the level of the outcome line: WARN for what the next attempt can repair, ERROR for what a
    /// person should look at.
    pub(crate) fn level(&self, attempt: &Attempt) -> Level {
        match self {
            Self::Ready { .. }
            | Self::Exported
            | Self::Skipped
            | Self::Closed { .. }
            | Self::Superseded { .. } => Level::INFO,
            Self::Retried { .. } | Self::RowAbsent => Level::WARN,
            Self::Unclaimed { .. } | Self::Unsettled { .. } if !attempt.is_last() => Level::WARN,
            Self::Failed { .. }
            | Self::NotFound
            | Self::Unclaimed { .. }
            | Self::Unsettled { .. }
            | Self::Malformed { .. }
            | Self::Panicked
            | Self::Cancelled => Level::ERROR,
        }
    }

    /// Returns what happens to the message.
    pub(crate) fn message_fate(&self, attempt: &Attempt) -> MessageFate {
        let after = |delay| MessageFate::Return { visible_after: Some(delay) };
        match self {
            Self::Ready { .. }
            | Self::Exported
            | Self::Skipped
            | Self::NotFound
            | Self::Closed { .. } => MessageFate::Delete,
            Self::Failed { failure, .. } => match failure.decision() {
                Decision::Fail => MessageFate::Delete,
                // The last receive of a request that might have succeeded: the dead-letter queue
                // shows it to an operator.
                Decision::Retry => after(Duration::ZERO),
            },
            Self::RowAbsent => after(ROW_DELAY),
            Self::Malformed { .. } => after(Duration::ZERO),
            Self::Unclaimed { .. } | Self::Unsettled { .. } | Self::Panicked
                if attempt.is_last() =>
            {
                after(Duration::ZERO)
            }
            Self::Retried { .. }
            | Self::Unclaimed { .. }
            | Self::Unsettled { .. }
            | Self::Panicked => after(attempt.retry_delay()),
            // The newer attempt may die, so the message must stay in the queue.
            Self::Superseded { .. } | Self::Cancelled => {
                MessageFate::Return { visible_after: None }
            }
        }
    }

    /// Returns whether another attempt follows because this one failed.
    pub(crate) fn is_retried(&self, attempt: &Attempt) -> bool {
        let failed = matches!(
            self,
            Self::Retried { .. }
                | Self::RowAbsent
                | Self::Unclaimed { .. }
                | Self::Unsettled { .. }
                | Self::Panicked
        );
        failed && !attempt.is_last()
    }

    /// Returns the cause and its chain, for the log.
    pub(crate) fn error(&self) -> Option<String> {
        match self {
            Self::Failed { failure, .. }
            | Self::Retried { failure }
            | Self::Unclaimed { failure }
            | Self::Closed { work: Err(failure) }
            | Self::Superseded { work: Err(failure) } => Some(chain(failure)),
            Self::Unsettled { failure, error } => {
                Some(format!("{}; failed to update the row: {}", chain(failure), chain(error)))
            }
            Self::Malformed { error } => Some(error.clone()),
            _ => None,
        }
    }

    /// Returns the archive that this attempt stored or adopted, even if another attempt closed the
    /// row.
    pub(crate) fn archive(&self) -> Option<&StoredArchive> {
        match self {
            Self::Ready { archive, .. }
            | Self::Closed { work: Ok(archive) }
            | Self::Superseded { work: Ok(archive) } => Some(archive),
            _ => None,
        }
    }

    /// Returns the fate of the e-mail, if the outcome calls for one.
    pub(crate) fn email(&self) -> Option<EmailOutcome> {
        match self {
            Self::Ready { email, .. } | Self::Failed { email, .. } => Some(*email),
            _ => None,
        }
    }
}

impl MessageFate {
    /// Returns the delay to set as the visibility timeout, if one is to be set.
    pub(crate) fn visible_after(self) -> Option<Duration> {
        match self {
            Self::Delete => None,
            Self::Return { visible_after } => visible_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::database::DatabaseError;
    use shared::failure::Failure;
    use tokio::time::Instant;
    use tracing::Level;

    use super::{AttemptOutcome, MessageFate, RowChange};
    use crate::archive::StoredArchive;
    use crate::attempt::Attempt;
    use crate::email::EmailOutcome;

    fn attempt(receive_count: u32) -> Attempt {
        Attempt {
            receive_count,
            max_receive_count: 4,
            sent_at: None,
            begun_at: Instant::now(),
            deadline: Instant::now(),
            retry_base: Duration::from_mins(1),
            span: None,
        }
    }

    fn transient() -> Failure {
        Failure::retry("failed", "connection reset")
    }

    fn permanent() -> Failure {
        Failure::permanent("no posts found", "None of the requested artworks exist any more.")
    }

    /// Returns one outcome of each kind.
    fn all() -> [AttemptOutcome; 14] {
        let archive = StoredArchive {
            size_bytes: 7,
            copied_bytes: 0,
            artworks: 1,
            missing: 0,
            counted: true,
            adopted: false,
            e_tag: None,
            contents: None,
            leftovers: None,
        };
        let error = DatabaseError::TimedOut(Duration::from_secs(20));
        [
            AttemptOutcome::Ready { archive: archive.clone(), email: EmailOutcome::Sent },
            AttemptOutcome::Failed { failure: permanent(), email: EmailOutcome::Sent },
            AttemptOutcome::Exported,
            AttemptOutcome::Retried { failure: transient() },
            AttemptOutcome::Skipped,
            AttemptOutcome::RowAbsent,
            AttemptOutcome::NotFound,
            AttemptOutcome::Closed { work: Ok(archive) },
            AttemptOutcome::Superseded { work: Err(transient()) },
            AttemptOutcome::Unclaimed { failure: transient() },
            AttemptOutcome::Unsettled { failure: transient(), error },
            AttemptOutcome::Malformed { error: "expected value".to_owned() },
            AttemptOutcome::Panicked,
            AttemptOutcome::Cancelled,
        ]
    }

    #[test]
    fn every_result_is_listed() {
        assert_eq!(all().map(|outcome| outcome.result()), AttemptOutcome::RESULTS);
    }

    #[test]
    fn only_retryable_failures_with_receives_left_release_the_row() {
        assert_eq!(RowChange::after(&transient(), &attempt(3)), RowChange::Release);
        assert_eq!(RowChange::after(&transient(), &attempt(4)), RowChange::Fail);
        assert_eq!(RowChange::after(&permanent(), &attempt(1)), RowChange::Fail);
    }

    #[test]
    fn closed_requests_are_deleted_and_others_return() {
        let deleted: Vec<_> = all()
            .into_iter()
            .filter(|outcome| outcome.message_fate(&attempt(1)) == MessageFate::Delete)
            .map(|outcome| outcome.result())
            .collect();
        assert_eq!(deleted, ["ready", "failed", "exported", "skipped", "not_found", "closed"]);
        let kept: Vec<_> = all()
            .into_iter()
            .filter(|outcome| {
                let fate = outcome.message_fate(&attempt(1));
                fate == MessageFate::Return { visible_after: None }
            })
            .map(|outcome| outcome.result())
            .collect();
        assert_eq!(kept, ["superseded", "cancelled"], "their visibility timeout stays");
        let last = AttemptOutcome::Failed { failure: transient(), email: EmailOutcome::NotWanted };
        let at_once = MessageFate::Return { visible_after: Some(Duration::ZERO) };
        assert_eq!(last.message_fate(&attempt(4)), at_once, "it moves to the dead-letter queue");
        let error = DatabaseError::TimedOut(Duration::from_secs(20));
        let unsettled = AttemptOutcome::Unsettled { failure: transient(), error };
        for outcome in [unsettled, AttemptOutcome::Panicked] {
            assert_eq!(outcome.message_fate(&attempt(4)), at_once);
            assert_ne!(outcome.message_fate(&attempt(3)), at_once);
        }
    }

    #[test]
    fn a_message_without_a_row_returns_twice() {
        assert_eq!([1, 2, 3, 4].map(|n| attempt(n).waits_for_row()), [true, true, false, false]);
        let only = Attempt { max_receive_count: 1, ..attempt(1) };
        assert!(!only.waits_for_row(), "it is not a dead letter");
        let delay = MessageFate::Return { visible_after: Some(Duration::from_secs(5)) };
        assert_eq!(AttemptOutcome::RowAbsent.message_fate(&attempt(2)), delay);
    }

    #[test]
    fn expected_retries_are_warnings_until_the_last_receive() {
        let levels = |receive| all().map(|outcome| outcome.level(&attempt(receive)));
        let (info, warn, error) = (Level::INFO, Level::WARN, Level::ERROR);
        let expected = [
            info, error, info, warn, info, warn, error, info, info, warn, warn, error, error, error,
        ];
        assert_eq!(levels(1), expected);
        let last = [
            info, error, info, warn, info, warn, error, info, info, error, error, error, error,
            error,
        ];
        assert_eq!(levels(4), last);
    }
}
