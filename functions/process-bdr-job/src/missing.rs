//! Why an artwork is not in the archive.

use shared::failure::Decision;

/// The reason why an artwork is missing, and whether another attempt may find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The reason for the artist, in `metadata.json`. It reveals nothing about networks or permissions.
    pub reason: &'static str,
    /// Whether another attempt may find the artwork.
    pub decision: Decision,
    /// The cause for the log.
    pub detail: Option<String>,
}

impl Missing {
    /// Returns a reason that no later attempt changes.
    #[must_use]
    pub fn permanent(reason: &'static str) -> Self {
        Self { reason, decision: Decision::Fail, detail: None }
    }

    /// Returns a reason that may pass.
    #[must_use]
    pub fn transient(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, decision: Decision::Retry, detail: Some(detail.into()) }
    }

    /// Adds the cause for the log.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// Returns the reason of an artwork that exceeds `MAX_ARTWORK_BYTES`.
    pub(crate) fn too_large() -> Self {
        Self::permanent("This artwork's file is too large.")
    }

    /// Returns the reason of an artwork whose format the archive does not accept.
    pub(crate) fn unsupported_format() -> Self {
        Self::permanent("This artwork's file format is not supported.")
    }
}
