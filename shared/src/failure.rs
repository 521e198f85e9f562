//! Failures that carry a decision: retry later or fail permanently.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The decision about a failure. The code where the error occurs makes it; the caller follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The cause may be transient: network, throttling, a database failover.
    Retry,
    /// The cause is permanent: a later attempt would fail too.
    Fail,
}

/// The reason why a unit of work stopped.
#[derive(Debug)]
pub struct Failure {
    decision: Decision,
    context: &'static str,
    artist_message: Option<String>,
    is_too_large: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The message to the artist about a failure of the service that may not occur again. The log has the
/// details.
pub const OUR_FAULT: &str =
    "Something went wrong on our side while we prepared this download. Please request it again.";

/// The message to the artist about a failure of the service that occurs again until the team has mended
/// its cause. The log has the details.
pub const OUR_LASTING_FAULT: &str = "Something went wrong on our side while we prepared this download, \
                                     and our team has to fix it. Requesting it again helps only after \
                                     that.";

/// Maximum length of `error_message`, in characters.
const MAX_MESSAGE_CHARACTERS: usize = 500;

impl Failure {
    /// Creates a failure to retry. `context` says for the log what failed.
    pub fn retry(context: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            decision: Decision::Retry,
            context,
            artist_message: None,
            is_too_large: false,
            source: Some(source.into()),
        }
    }

    /// Creates a permanent failure with a message to the artist.
    pub fn permanent(context: &'static str, artist_message: impl Into<String>) -> Self {
        Self {
            decision: Decision::Fail,
            context,
            artist_message: Some(artist_message.into()),
            is_too_large: false,
            source: None,
        }
    }

    /// Creates the permanent failure of a request that is larger than what is served, with a message to the
    /// artist.
    pub fn too_large(context: &'static str, artist_message: impl Into<String>) -> Self {
        Self { is_too_large: true, ..Self::permanent(context, artist_message) }
    }

    /// Creates a permanent failure of the service. The artist gets [`OUR_LASTING_FAULT`], without
    /// details.
    pub fn permanent_fault(
        context: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            decision: Decision::Fail,
            context,
            artist_message: None,
            is_too_large: false,
            source: Some(source.into()),
        }
    }

    /// Returns the decision.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.decision
    }

    /// Returns whether the request is larger than what is served.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    /// Returns the row's `error_message`: no internals, at most 500 characters.
    #[must_use]
    pub fn artist_message(&self) -> String {
        let of_service = match self.decision {
            Decision::Retry => OUR_FAULT,
            Decision::Fail => OUR_LASTING_FAULT,
        };
        let message = self.artist_message.as_deref().unwrap_or(of_service);
        message.chars().take(MAX_MESSAGE_CHARACTERS).collect()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.context)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// Formats an error and all its causes on one line for the log: `a: b: c`.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors include their cause in their own text.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{Decision, Failure, chain};

    #[test]
    fn internals_are_in_the_log_and_not_in_the_artist_message() {
        let failure = Failure::retry("failed to claim the request", "connection to 10.0.0.7 reset");
        assert_eq!(failure.decision(), Decision::Retry);
        assert!(!failure.artist_message().contains("10.0.0.7"));
        assert!(failure.artist_message().contains("request it again"));
        assert_eq!(chain(&failure), "failed to claim the request: connection to 10.0.0.7 reset");
    }

    #[test]
    fn a_permanent_failure_of_the_service_asks_for_no_new_request() {
        let failure = Failure::permanent_fault("failed to claim the request", "10.0.0.7");
        assert_eq!(failure.decision(), Decision::Fail);
        let message = failure.artist_message();
        assert!(message.contains("our team has to fix it"), "{message}");
        assert!(
            !message.contains("request it again") && !message.contains("10.0.0.7"),
            "{message}"
        );
    }

    #[test]
    fn the_message_is_cut_at_500_characters_not_bytes() {
        let failure = Failure::permanent("too long", "é".repeat(600));
        assert_eq!(failure.artist_message().chars().count(), 500);
    }
}
