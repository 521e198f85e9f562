//! Why an artwork is not in the archive.

use serde::{Deserialize, Serialize};
use shared::failure::Decision;

/// The reason why an artwork is missing, and whether another attempt may find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The reason, for programs. [`MissingCode::reason`] is the same for people.
    pub code: MissingCode,
    /// Whether another attempt may find the artwork.
    pub decision: Decision,
    /// The cause for the log.
    pub detail: Option<String>,
}

/// The reasons, as `missing_artworks[].code` of `metadata.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingCode {
    /// The post does not exist.
    NoSuchArtwork,
    /// The post's row holds a value that no fallback replaces.
    MalformedRow,
    /// The post has no public id, and none can be derived.
    NoPublicId,
    /// The post has no `art_url`.
    NoFile,
    /// The `art_url` is of no accepted form, or not public.
    UnusableAddress,
    /// The archive does not accept the file format.
    UnsupportedFormat,
    /// The vault has no such file, or the host rejected the request for it.
    NotFound,
    /// The file is in an archive storage class.
    Archived,
    /// The file exceeds `MAX_ARTWORK_BYTES`.
    TooLarge,
    /// The vault could not be read.
    Unreadable,
    /// The host's responses are unusable.
    DownloadFailed,
    /// The host did not respond in time.
    HostUnavailable,
    /// The host's file has another format than the post says.
    NotAnImage,
}

impl MissingCode {
    /// Returns whether the row or the configuration is at fault, which the team has to correct.
    #[must_use]
    pub fn is_fault_of_service(self) -> bool {
        matches!(self, Self::MalformedRow | Self::NoPublicId)
    }

    /// Returns the reason for the artist. It reveals nothing about networks or permissions.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoSuchArtwork => "This artwork no longer exists.",
            Self::MalformedRow => "This artwork's entry could not be read.",
            Self::NoPublicId => "This artwork has no usable public id.",
            Self::NoFile => "This artwork has no file.",
            Self::UnusableAddress => "This artwork's file address is not usable.",
            Self::UnsupportedFormat => "This artwork's file format is not supported.",
            Self::NotFound => "This artwork's file was not found.",
            Self::Archived => {
                "This artwork's file is in cold storage and has to be restored first."
            }
            Self::TooLarge => "This artwork's file is too large.",
            Self::Unreadable => "This artwork's file could not be read.",
            Self::DownloadFailed => "This artwork's file could not be downloaded.",
            Self::HostUnavailable => "This artwork's file could not be downloaded in time.",
            Self::NotAnImage => "This artwork's file does not have the format it should have.",
        }
    }
}

impl Missing {
    /// Returns a reason that no later attempt changes.
    #[must_use]
    pub fn permanent(code: MissingCode) -> Self {
        Self { code, decision: Decision::Fail, detail: None }
    }

    /// Returns a reason that may pass.
    #[must_use]
    pub fn transient(code: MissingCode, detail: impl Into<String>) -> Self {
        Self { code, decision: Decision::Retry, detail: Some(detail.into()) }
    }

    /// Adds the cause for the log.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// Returns the reason for the artist.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.code.reason()
    }
}
