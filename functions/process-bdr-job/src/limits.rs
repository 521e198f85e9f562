//! The operator's limits of a request: its artworks and the bytes of its archive.

use shared::failure::Failure;
use shared::vault::{MAX_JOINED_BYTES, MAX_UPLOAD_BYTES};

/// The message to the artist about an archive that is larger than what is served.
pub(crate) const TOO_LARGE: &str =
    "This download is larger than we can prepare. Please request fewer artworks at once.";

/// The largest request that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    max_artworks: u64,
    max_archive_bytes: u64,
}

impl RequestLimits {
    /// Returns the limits by `MAX_ARTWORKS` and `MAX_ARCHIVE_BYTES`. `u64::MAX` is no limit of the
    /// operator's; an archive has at most the bytes of one upload then.
    #[must_use]
    pub fn new(max_artworks: u64, max_archive_bytes: u64) -> Self {
        Self { max_artworks, max_archive_bytes: max_archive_bytes.min(MAX_UPLOAD_BYTES) }
    }

    /// Returns the limits with large exports, whose copied parts are larger: an archive has at most
    /// [`MAX_JOINED_BYTES`].
    #[must_use]
    pub fn with_exports(max_artworks: u64, max_archive_bytes: u64) -> Self {
        Self { max_artworks, max_archive_bytes: max_archive_bytes.min(MAX_JOINED_BYTES) }
    }

    /// Checks the number of requested artworks.
    ///
    /// # Errors
    /// A permanent failure when there are too many.
    pub(crate) fn check_artworks(&self, requested: usize) -> Result<(), Failure> {
        if requested as u64 <= self.max_artworks {
            return Ok(());
        }
        Err(Failure::too_large(
            "the request has more artworks than MAX_ARTWORKS",
            format!(
                "A download can have at most {} artworks, and this one has {requested}. Please request \
                 fewer artworks at once.",
                self.max_artworks
            ),
        ))
    }

    /// Checks the bytes that the archive is known to have.
    ///
    /// # Errors
    /// A permanent failure when there are too many.
    pub(crate) fn check_archive(&self, known_bytes: u64) -> Result<(), Failure> {
        if known_bytes <= self.max_archive_bytes {
            return Ok(());
        }
        Err(Failure::too_large(
            "the archive has more bytes than MAX_ARCHIVE_BYTES or one upload",
            TOO_LARGE,
        ))
    }
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self::new(u64::MAX, u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use shared::failure::Decision;
    use shared::vault::MAX_UPLOAD_BYTES;

    use super::RequestLimits;

    #[test]
    fn what_exceeds_a_limit_fails_permanently_with_words_for_the_artist() {
        let limits = RequestLimits::new(2, 100);
        assert!(limits.check_artworks(2).is_ok() && limits.check_archive(100).is_ok());
        for failure in [limits.check_artworks(3), limits.check_archive(101)] {
            let failure = failure.unwrap_err();
            assert_eq!(failure.decision(), Decision::Fail);
            let message = failure.artist_message();
            assert!(message.contains("Please request fewer artworks at once."), "{message}");
        }
    }

    #[test]
    fn without_limits_an_archive_fills_one_upload() {
        let limits = RequestLimits::default();
        assert!(limits.check_artworks(usize::MAX).is_ok());
        assert!(limits.check_archive(MAX_UPLOAD_BYTES).is_ok());
        assert!(limits.check_archive(MAX_UPLOAD_BYTES + 1).is_err());
        // 2,000 parts of 5 MiB, 2,000 of 8 MiB, 6,000 of 16 MiB.
        assert_eq!(MAX_UPLOAD_BYTES, 107_600 * 1024 * 1024);
    }
}
