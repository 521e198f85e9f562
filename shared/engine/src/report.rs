//! What an archive took.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::plan::Prices;

/// What an archive took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Size of the archive in bytes.
    pub size: u64,
    /// Its ETag.
    pub e_tag: Option<String>,
    /// Requests that were sent, repetitions included.
    pub requests: Requests,
    /// Bytes of the archive that were sent, repetitions excluded.
    pub sent_bytes: u64,
    /// Bytes of the archive that S3 copied.
    pub copied_bytes: u64,
}

/// Numbers of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// `GetObject`.
    pub get: u64,
    /// `HeadObject`.
    pub head: u64,
    /// `UploadPart`.
    pub part: u64,
    /// `UploadPartCopy`.
    pub copy: u64,
    /// `PutObject`, `CreateMultipartUpload` and `CompleteMultipartUpload`.
    pub whole: u64,
    /// Those of the above that repeated one with a transient error.
    pub repeated: u64,
}

impl Requests {
    /// Returns their price in US dollars.
    #[must_use]
    pub fn price(&self, prices: &Prices) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^53")]
        let count = |requests: u64| requests as f64;
        count(self.get + self.head) * prices.read
            + count(self.part + self.copy + self.whole) * prices.write
    }
}

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Get,
    Head,
    Part,
    Copy,
    Whole,
}

/// Counts requests.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    sent: [AtomicU64; 5],
    repeated: AtomicU64,
}

impl Counter {
    pub(crate) fn count(&self, kind: Kind, is_repeated: bool) {
        self.sent[kind as usize].fetch_add(1, Relaxed);
        if is_repeated {
            self.repeated.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn requests(&self) -> Requests {
        let sent = |kind: Kind| self.sent[kind as usize].load(Relaxed);
        Requests {
            get: sent(Kind::Get),
            head: sent(Kind::Head),
            part: sent(Kind::Part),
            copy: sent(Kind::Copy),
            whole: sent(Kind::Whole),
            repeated: self.repeated.load(Relaxed),
        }
    }
}
