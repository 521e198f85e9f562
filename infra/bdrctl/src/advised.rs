//! Errors with advice.

use std::error::Error;
use std::fmt;

/// A problem, and what to do about it. As an error's context it displays the problem alone, so that
/// the advice is printed after the causes.
#[derive(Debug)]
pub(crate) struct Advised {
    problem: String,
    advice: String,
    is_not_found: bool,
}

impl Advised {
    pub(crate) fn new(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { problem: problem.into(), advice: advice.into(), is_not_found: false }
    }

    /// Returns the error of a request or deployment that does not exist. It must be the root of an error,
    /// not the context of one.
    pub(crate) fn not_found(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { is_not_found: true, ..Self::new(problem, advice) }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.is_not_found
    }
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl Error for Advised {}

/// Returns the advice of the outermost error that has one.
pub(crate) fn advice(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<Advised>().map(|advised| advised.advice.as_str())
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::{Advised, advice};

    #[test]
    fn the_outermost_advice_is_returned_and_not_displayed() {
        let error = anyhow!("refused").context(Advised::new("failed to read", "Ask again."));
        assert_eq!(format!("{error:#}"), "failed to read: refused");
        assert_eq!(advice(&error), Some("Ask again."));
        let outer = error.context("failed to start");
        assert_eq!(advice(&outer), Some("Ask again."));
        let outer = outer.context(Advised::new("failed to check", "Give up."));
        assert_eq!(advice(&outer), Some("Give up."));
        assert_eq!(advice(&anyhow!(Advised::new("failed", "Retry."))), Some("Retry."));
        assert_eq!(advice(&anyhow!("failed")), None);
    }
}
