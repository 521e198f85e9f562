//! What the API is told.

use std::time::Duration;

use serde::Serialize;
use shared::failure::Failure;
use shared::request::{Download, RequestState, Requests};
use shared::vault::{ArchiveKey, Vault};
use time::OffsetDateTime;
use uuid::Uuid;

/// The answer, by `status`.
#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Answer {
    /// The ZIP can be downloaded.
    Ok {
        /// The presigned URL. A secret until it dies.
        url: String,
        /// The name under which the browser saves it.
        filename: String,
        /// Size of the ZIP in bytes.
        size_bytes: Option<i64>,
        /// When the URL dies, at the latest; earlier if the role's session does.
        #[serde(with = "time::serde::rfc3339")]
        url_expires_at: OffsetDateTime,
    },
    /// There is no such request, or it is somebody else's.
    NotFound,
    /// There is no ZIP yet, or there will never be one.
    NotReady {
        /// `pending`, `processing` or `failed`.
        bdr_status: String,
    },
    /// There is no ZIP any more.
    Expired,
}

/// Finds out what the API is to be told about a request of this artist's.
///
/// # Errors
/// When the database does not answer, the row is malformed, or the URL cannot be signed.
pub async fn answer(
    requests: &Requests,
    vault: &Vault,
    url_ttl: Duration,
    bdr_id: Uuid,
    user_id: i32,
) -> Result<Answer, Failure> {
    let download = requests
        .download(bdr_id, user_id)
        .await
        .map_err(|error| error.context("failed to read the request"))?;
    let Some(download) = download else { return Ok(Answer::NotFound) };
    let life = remaining(&download, url_ttl);
    match RequestState::parse(&download.status) {
        Some(RequestState::Ready) if life.is_zero() => Ok(Answer::Expired),
        Some(RequestState::Ready) => sign(vault, bdr_id, &download, life).await,
        Some(RequestState::Expired) => Ok(Answer::Expired),
        _ => Ok(Answer::NotReady { bdr_status: download.status }),
    }
}

/// How long a URL may live: not longer than the ZIP.
fn remaining(download: &Download, url_ttl: Duration) -> Duration {
    let Some(expires_at) = download.expires_at else { return url_ttl };
    // Whole seconds, as S3 counts them, rounded so that the URL never outlives the ZIP.
    let left = (expires_at - download.now).whole_seconds();
    Duration::from_secs(u64::try_from(left).unwrap_or(0)).min(url_ttl)
}

async fn sign(
    vault: &Vault,
    bdr_id: Uuid,
    download: &Download,
    life: Duration,
) -> Result<Answer, Failure> {
    let key = download.file_path.as_deref().and_then(ArchiveKey::parse);
    let key = key.filter(|key| key.bdr_id() == Some(bdr_id)).ok_or_else(|| {
        let problem = "it is ready, but file_path is not its archive";
        Failure::permanent_fault("the row is malformed", problem)
    })?;
    let filename = format!("makapix-artworks-{}.zip", &bdr_id.to_string()[..8]);
    let url = vault
        .presign_download(&key, &filename, life)
        .await
        .map_err(|error| Failure::retry("failed to sign the URL", error))?;
    let url_expires_at = download.now.truncate_to_second() + life;
    Ok(Answer::Ok { url, filename, size_bytes: download.size_bytes, url_expires_at })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::request::Download;
    use time::macros::datetime;

    use super::remaining;

    #[test]
    fn a_url_never_outlives_its_zip() {
        let now = datetime!(2025-01-01 0:00 UTC);
        let life = |expires_at| {
            let download = Download {
                status: "ready".to_owned(),
                file_path: None,
                size_bytes: None,
                expires_at,
                now,
            };
            remaining(&download, Duration::from_mins(15)).as_secs()
        };
        assert_eq!(life(None), 900);
        assert_eq!(life(Some(now + Duration::from_hours(24))), 900);
        assert_eq!(life(Some(now + Duration::from_millis(59_999))), 59);
        assert_eq!(life(Some(now + Duration::from_millis(999))), 0);
        assert_eq!(life(Some(now - Duration::from_secs(1))), 0);
    }
}
