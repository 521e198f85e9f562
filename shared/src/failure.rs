//! Failures that carry their decision: try again later, or fail for good.

use std::error::Error;
use std::fmt;

/// What is to be done about a failure. Made where the error arises, obeyed by whoever settles it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The cause may pass: network, throttling, a database that is failing over.
    Retry,
    /// No later attempt can end otherwise.
    Fail,
}

/// Why a unit of work stopped.
#[derive(Debug)]
pub struct Failure {
    decision: Decision,
    context: &'static str,
    artist_message: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What an artist is told about a failure whose cause lies with us. The details are in the log.
pub const OUR_FAULT: &str =
    "Something went wrong on our side while we prepared this download. Please request it again.";

/// Longest `error_message`, in characters.
const MESSAGE_CHARACTERS: usize = 500;

impl Failure {
    /// A failure whose cause may pass. `context` says what could not be done, for the log.
    pub fn retry(context: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            decision: Decision::Retry,
            context,
            artist_message: None,
            source: Some(source.into()),
        }
    }

    /// A failure for good, with the words for the artist.
    pub fn permanent(context: &'static str, artist_message: impl Into<String>) -> Self {
        Self {
            decision: Decision::Fail,
            context,
            artist_message: Some(artist_message.into()),
            source: None,
        }
    }

    /// A failure for good whose cause lies with us; the artist gets no details.
    pub fn permanent_fault(
        context: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            decision: Decision::Fail,
            context,
            artist_message: None,
            source: Some(source.into()),
        }
    }

    /// Retry or fail.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.decision
    }

    /// The row's `error_message`: fit for the artist's eyes, at most 500 characters.
    #[must_use]
    pub fn artist_message(&self) -> String {
        let message = self.artist_message.as_deref().unwrap_or(OUR_FAULT);
        message.chars().take(MESSAGE_CHARACTERS).collect()
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

/// An error and all its causes on one line, for the log: `a: b: c`.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors print their cause themselves.
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
    fn the_artist_reads_no_internals_and_the_log_reads_all_of_them() {
        let failure = Failure::retry("failed to claim the request", "connection to 10.0.0.7 reset");
        assert_eq!(failure.decision(), Decision::Retry);
        assert!(!failure.artist_message().contains("10.0.0.7"));
        assert_eq!(chain(&failure), "failed to claim the request: connection to 10.0.0.7 reset");
    }

    #[test]
    fn the_message_is_cut_at_500_characters_not_bytes() {
        let failure = Failure::permanent("too long", "é".repeat(600));
        assert_eq!(failure.artist_message().chars().count(), 500);
    }
}
