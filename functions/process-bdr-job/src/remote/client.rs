//! One try at one URL. Redirects are followed here, so that each target is checked.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, DATE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
    TRANSFER_ENCODING,
};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode};
use rustls::ClientConfig;
use url::Url;

use super::guard::Target;
use super::resolver::{self, CheckedResolver};
use super::{Web, redirect};
use crate::missing::{Missing, MissingCode};

/// Maximum number of redirects.
const MAX_REDIRECTS: usize = 3;
/// Maximum number of response headers. hyper rejects a head that exceeds its buffer of 408 KiB.
const MAX_HEADERS: usize = 100;
/// The compressions that hosts name in `Content-Encoding` (IANA, "HTTP Content Coding Registry"). Other
/// values, such as `UTF-8` or `binary`, are mistakes that browsers ignore.
const COMPRESSIONS: [&str; 11] = [
    "gzip",
    "x-gzip",
    "deflate",
    "br",
    "zstd",
    "compress",
    "x-compress",
    "dcb",
    "dcz",
    "exi",
    "pack200-gzip",
];

/// The error of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TryError {
    /// Another try would fail in the same way.
    Permanent(Missing),
    /// The host responds, but not with the whole file. Another try may succeed.
    Unusable(Missing),
    /// The host is unreachable, silent or overloaded, or limits rates.
    Unavailable {
        /// The reason to record if the host stays unavailable.
        missing: Missing,
        /// The delay that the host asks for.
        retry_after: Option<Duration>,
    },
}

impl TryError {
    /// Returns the error of a host that did not respond in time.
    pub(crate) fn timed_out() -> Self {
        let missing = Missing::transient(MissingCode::HostUnavailable, "the host timed out");
        Self::Unavailable { missing, retry_after: None }
    }

    /// Returns the reason why the artwork is missing if there is no other try.
    #[must_use]
    pub fn into_missing(self) -> Missing {
        match self {
            Self::Permanent(missing)
            | Self::Unusable(missing)
            | Self::Unavailable { missing, .. } => missing,
        }
    }

    /// Classifies a transport error. The text omits the URL, whose query may be secret.
    fn from_transport(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::timed_out();
        }
        let unavailable = |missing| Self::Unavailable { missing, retry_after: None };
        if resolver::is_not_public(&error) {
            // The same reason as for other failures: the artist learns nothing about private names.
            return Self::Permanent(not_downloaded("the name resolves to a private address"));
        }
        if resolver::is_unresolved(&error) {
            return unavailable(not_downloaded("the name does not resolve"));
        }
        if is_bad_certificate(&error) {
            return unavailable(not_downloaded("the host's certificate is invalid"));
        }
        let is_connect = error.is_connect();
        let detail = shared::failure::chain(&error.without_url());
        let missing = Missing::transient(MissingCode::DownloadFailed, detail);
        if is_connect { unavailable(missing) } else { Self::Unusable(missing) }
    }
}

impl From<Missing> for TryError {
    fn from(missing: Missing) -> Self {
        Self::Permanent(missing)
    }
}

/// Two HTTP clients: one for public addresses, and one for the exempt hosts.
pub struct Session {
    public: reqwest::Client,
    exempt: reqwest::Client,
    allow_hosts: HashSet<String>,
}

/// A remote file whose response has begun and whose body is not yet read.
pub struct OpenRemote(Response);

impl Session {
    pub(super) fn new(
        web: &Web,
        allow_hosts: HashSet<String>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(web.roots.clone())
            .with_no_client_auth();
        let builder = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .no_proxy()
                .redirect(Policy::none())
                .referer(false)
                .http1_max_headers(MAX_HEADERS)
                .connect_timeout(web.limits.connection)
                .read_timeout(web.limits.silence)
                .user_agent(&*web.user_agent)
        };
        let resolver = |is_public| CheckedResolver { inner: Arc::clone(&web.resolver), is_public };
        Ok(Self {
            public: builder().dns_resolver(resolver(Some(web.is_public))).build()?,
            exempt: builder().dns_resolver(resolver(None)).build()?,
            allow_hosts,
        })
    }

    /// Sends a GET, follows redirects, and returns the response if its body is the file itself.
    ///
    /// # Errors
    /// When the file is missing, permanently or for now.
    pub async fn get(&self, url: Url) -> Result<OpenRemote, TryError> {
        let mut target = Target::check(url, &self.allow_hosts)?;
        for _ in 0..=MAX_REDIRECTS {
            let client = if target.is_exempt() { &self.exempt } else { &self.public };
            let response = client
                .get(target.url().clone())
                .header(ACCEPT_ENCODING, "identity")
                .send()
                .await
                .map_err(TryError::from_transport)?;
            if !response.status().is_redirection() {
                return check_response(response).map(OpenRemote);
            }
            let location = response.headers().get(LOCATION).map_or(&[][..], HeaderValue::as_bytes);
            target = redirect::next(target.url(), location, &self.allow_hosts)?;
        }
        Err(not_downloaded("too many redirects").into())
    }
}

impl OpenRemote {
    /// Returns the size that the host announces, in bytes.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.0.content_length()
    }

    /// Returns the next bytes of the body, or `None` at its end.
    ///
    /// # Errors
    /// When the body breaks off or stalls.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, TryError> {
        self.0.chunk().await.map_err(TryError::from_transport)
    }
}

fn check_response(response: Response) -> Result<Response, TryError> {
    let status = response.status();
    match status.as_u16() {
        200 | 203 => {}
        408 | 425 | 429 | 500..=599 => {
            let detail = format!("status {status}");
            return Err(TryError::Unavailable {
                missing: Missing::transient(MissingCode::DownloadFailed, detail),
                retry_after: retry_after(response.headers()),
            });
        }
        _ => return Err(not_found(status).into()),
    }
    let all = |header, is_accepted: fn(&str) -> bool| {
        let values = response.headers().get_all(header).iter();
        let mut values = values.filter_map(|value| value.to_str().ok());
        values.all(|value| {
            value.split(',').all(|coding| is_accepted(&coding.trim().to_ascii_lowercase()))
        })
    };
    // The client does not decompress, because a decompressed body could grow without bound.
    let is_plain = all(CONTENT_ENCODING, |coding| !COMPRESSIONS.contains(&coding))
        && all(TRANSFER_ENCODING, |coding| coding == "chunked");
    if is_plain { Ok(response) } else { Err(not_downloaded("the body is compressed").into()) }
}

fn not_found(status: StatusCode) -> Missing {
    Missing::permanent(MissingCode::NotFound).with_detail(format!("status {status}"))
}

fn not_downloaded(detail: &str) -> Missing {
    Missing::permanent(MissingCode::DownloadFailed).with_detail(detail)
}

/// Returns whether TLS failed because of the host's certificate.
fn is_bad_certificate(error: &reqwest::Error) -> bool {
    resolver::has_cause(error, |cause| {
        matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)))
    })
}

/// Returns the delay of `Retry-After`, in seconds or as a date, which is compared with the host's own
/// `Date`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let date = |text: &str| -> Option<SystemTime> { httpdate::parse_http_date(text).ok() };
    let value = text(RETRY_AFTER)?.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        // A value beyond u32 exceeds every deadline, so its exact length does not matter.
        return Some(Duration::from_secs(value.parse().unwrap_or(u32::MAX).into()));
    }
    date(value)?.duration_since(date(text(DATE)?)?).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

    use super::retry_after;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (value, seconds) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("3600", Some(3600)),
            ("18446744073709551616", Some(u32::MAX.into())),
            ("-1", None),
            ("1.5", None),
            ("", None),
            ("soon", None),
            ("Sun, 06 Nov 1994 08:49:49 GMT", Some(12)),
            ("Sunday, 06-Nov-94 08:49:49 GMT", Some(12)),
            ("Sun Nov  6 08:49:49 1994", Some(12)),
            ("Sun, 06 Nov 1994 09:49:37 GMT", Some(3600)),
            ("Sun, 06 Nov 1994 08:49:36 GMT", None),
            ("Sun, 06 Nov 1994", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            let is_date = value.contains(':');
            let without_date = retry_after(&headers).map(|delay| delay.as_secs());
            assert_eq!(without_date, seconds.filter(|_| !is_date), "{value}");
            headers.insert(DATE, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
            assert_eq!(retry_after(&headers).map(|delay| delay.as_secs()), seconds, "{value}");
        }
    }
}
