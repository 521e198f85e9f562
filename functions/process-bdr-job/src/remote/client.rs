//! One request to a web host. Redirects are followed here, so that each target is checked.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, DATE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
    TRANSFER_ENCODING,
};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode};
use rustls::ClientConfig;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use url::Url;

use super::guard::Target;
use super::resolver::{self, PublicResolver};
use super::{Limits, Web, redirect};
use crate::missing::Missing;

/// Maximum number of redirects.
const MAX_REDIRECTS: usize = 3;
/// Maximum number of response headers. hyper rejects a head that exceeds its buffer of 408 KiB.
const MAX_HEADERS: usize = 100;
/// Maximum delay that a host can request.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// The error of a try.
pub(super) enum TryError {
    /// Every other try fails alike.
    Permanent(Missing),
    /// The host did not respond in time.
    TimedOut,
    /// Another try may succeed.
    Transient { detail: String, retry_after: Option<Duration> },
}

impl TryError {
    /// Classifies a transport error. The text omits the URL, whose query may be secret.
    pub(super) fn from_transport(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::TimedOut;
        }
        if resolver::is_not_public(&error) {
            // The same reason as for other failures: the artist learns nothing about private names.
            return Self::Permanent(not_downloaded("the name resolves to a private address"));
        }
        let detail = shared::failure::chain(&error.without_url());
        Self::Transient { detail, retry_after: None }
    }
}

/// Two HTTP clients: one for public addresses, and one for the exempt hosts.
pub(super) struct Client {
    public: reqwest::Client,
    exempt: reqwest::Client,
    allow_hosts: HashSet<String>,
    pub(super) limits: Limits,
}

impl Client {
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
                .user_agent(concat!("makapix-bdr/", env!("CARGO_PKG_VERSION")))
        };
        let public = PublicResolver { inner: Arc::clone(&web.resolver), is_public: web.is_public };
        Ok(Self {
            public: builder().dns_resolver(public).build()?,
            exempt: builder().dns_resolver(Arc::clone(&web.resolver)).build()?,
            allow_hosts,
            limits: web.limits,
        })
    }

    /// Sends a GET, follows redirects and returns the response if its body is the file itself.
    pub(super) async fn get(self: Arc<Self>, url: Url) -> Result<Response, TryError> {
        let mut target = Target::check(url, &self.allow_hosts).map_err(TryError::Permanent)?;
        for _ in 0..=MAX_REDIRECTS {
            let client = if target.is_exempt() { &self.exempt } else { &self.public };
            let response = client
                .get(target.url().clone())
                .header(ACCEPT_ENCODING, "identity")
                .send()
                .await
                .map_err(TryError::from_transport)?;
            if !response.status().is_redirection() {
                return accepted(response);
            }
            let location = response.headers().get(LOCATION).map_or(&[][..], HeaderValue::as_bytes);
            target = redirect::next(target.url(), location, &self.allow_hosts)
                .map_err(TryError::Permanent)?;
        }
        Err(TryError::Permanent(not_downloaded("too many redirects")))
    }
}

fn accepted(response: Response) -> Result<Response, TryError> {
    let status = response.status();
    match status.as_u16() {
        200 | 203 => {}
        408 | 425 | 429 | 500..=599 => {
            let retry_after = retry_after(response.headers());
            return Err(TryError::Transient { detail: format!("status {status}"), retry_after });
        }
        _ => return Err(TryError::Permanent(not_found(status))),
    }
    let is_plain = |header, plain: &str| {
        let mut values = response.headers().get_all(header).iter();
        values.all(|value| value.as_bytes().eq_ignore_ascii_case(plain.as_bytes()))
    };
    // The request accepts no compression, and a compressed body could grow without bound.
    if !is_plain(CONTENT_ENCODING, "identity") || !is_plain(TRANSFER_ENCODING, "chunked") {
        return Err(TryError::Permanent(not_downloaded("the body is encoded")));
    }
    Ok(response)
}

fn not_found(status: StatusCode) -> Missing {
    Missing::permanent("This artwork's file was not found.").with_detail(format!("status {status}"))
}

fn not_downloaded(detail: &str) -> Missing {
    Missing::permanent("This artwork's file could not be downloaded.").with_detail(detail)
}

/// Returns the delay of `Retry-After`, at most [`MAX_RETRY_AFTER`]. A date is compared with the host's own
/// `Date`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let date = |text: &str| OffsetDateTime::parse(text, &Rfc2822).ok();
    let value = text(RETRY_AFTER)?;
    let delay = value
        .parse()
        .map(Duration::from_secs)
        .ok()
        .or_else(|| Duration::try_from(date(value)? - date(text(DATE)?)?).ok())?;
    Some(delay.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

    use super::retry_after;

    #[test]
    fn retry_after_is_seconds_or_a_date_up_to_30_s() {
        for (value, seconds) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("3600", Some(30)),
            ("18446744073709551616", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("Sun, 06 Nov 1994 08:49:49 GMT", Some(12)),
            ("Sun, 06 Nov 1994 09:49:37 GMT", Some(30)),
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
