//! The answer to the API.

use std::time::Duration;

use serde::Serialize;
use shared::database::DatabaseError;
use shared::failure::Failure;
use shared::request::{Download, RequestState, Requests};
use shared::vault::{ArchiveKey, Vault};
use time::OffsetDateTime;
use uuid::Uuid;

/// The answer, tagged by `status`.
#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Answer {
    /// The ZIP can be downloaded.
    Ok {
        /// The presigned URL. A secret until it expires.
        url: String,
        /// The name of the saved file.
        filename: String,
        /// Size of the ZIP in bytes.
        size_bytes: Option<i64>,
        /// The expiry of the URL. The URL expires earlier if the session of the role does.
        #[serde(with = "time::serde::rfc3339")]
        url_expires_at: OffsetDateTime,
    },
    /// The request does not exist, or belongs to another artist.
    NotFound,
    /// The request has no ZIP: it is in progress or failed.
    NotReady {
        /// `pending`, `processing` or `failed`.
        bdr_status: String,
    },
    /// The ZIP has expired.
    Expired,
}

/// Returns the answer about the request `bdr_id` of the artist `user_id`. The name of the downloaded file
/// begins with `download_name`.
///
/// # Errors
/// When the database does not respond, the row is malformed, or signing fails.
pub async fn answer(
    requests: &Requests,
    vault: &Vault,
    url_ttl: Duration,
    download_name: &str,
    bdr_id: Uuid,
    user_id: i64,
) -> Result<Answer, Failure> {
    let download = requests
        .download(bdr_id, user_id)
        .await
        .map_err(|error| error.context("failed to read the request"))?;
    let Some(download) = download else { return Ok(Answer::NotFound) };
    let lifetime = url_lifetime(&download, url_ttl);
    match RequestState::parse(&download.status) {
        Some(RequestState::Ready) if lifetime.is_zero() => Ok(Answer::Expired),
        Some(RequestState::Ready) => sign(vault, download_name, bdr_id, &download, lifetime).await,
        Some(RequestState::Expired) => Ok(Answer::Expired),
        _ => Ok(Answer::NotReady { bdr_status: download.status }),
    }
}

/// Returns the lifetime of a URL: at most `url_ttl`, and not longer than that of the ZIP.
fn url_lifetime(download: &Download, url_ttl: Duration) -> Duration {
    let Some(expires_at) = download.expires_at else { return url_ttl };
    // Whole seconds (`X-Amz-Expires`), rounded down so that the URL does not outlive the ZIP.
    let left = (expires_at - download.now).whole_seconds();
    Duration::from_secs(u64::try_from(left).unwrap_or(0)).min(url_ttl)
}

async fn sign(
    vault: &Vault,
    download_name: &str,
    bdr_id: Uuid,
    download: &Download,
    lifetime: Duration,
) -> Result<Answer, Failure> {
    let key = download.file_path.as_deref().and_then(ArchiveKey::parse);
    let key = key.filter(|key| key.bdr_id() == Some(bdr_id)).ok_or_else(|| {
        let problem = "the request is ready, but file_path is not the key of its ZIP";
        DatabaseError::malformed("file_path", problem).context("failed to find the ZIP")
    })?;
    let filename = format!("{download_name}-{}.zip", &bdr_id.to_string()[..8]);
    let url = vault
        .presign_download(&key, &filename, lifetime)
        .await
        .map_err(|error| Failure::retry("failed to sign the URL", error))?;
    let url_expires_at = download.now.truncate_to_second() + lifetime;
    Ok(Answer::Ok { url, filename, size_bytes: download.size_bytes, url_expires_at })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::request::Download;
    use time::macros::datetime;

    use super::url_lifetime;

    #[test]
    fn a_url_never_outlives_its_zip() {
        let now = datetime!(2025-01-01 0:00 UTC);
        let lifetime = |expires_at| {
            let download = Download {
                status: "ready".to_owned(),
                file_path: None,
                size_bytes: None,
                expires_at,
                now,
            };
            url_lifetime(&download, Duration::from_mins(15)).as_secs()
        };
        assert_eq!(lifetime(None), 900);
        assert_eq!(lifetime(Some(now + Duration::from_hours(24))), 900);
        assert_eq!(lifetime(Some(now + Duration::from_millis(59_999))), 59);
        assert_eq!(lifetime(Some(now + Duration::from_millis(999))), 0);
        assert_eq!(lifetime(Some(now - Duration::from_secs(1))), 0);
    }
}
