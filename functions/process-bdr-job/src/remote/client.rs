//! One request to a web host, redirects followed by hand so that each one is judged.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode};
use rustls::{ClientConfig, RootCertStore};
use url::Url;

use super::guard::{self, PublicResolver, Verdict};
use crate::artwork::Missing;

/// Longest wait for a connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence within an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// Redirects followed.
const MOST_REDIRECTS: usize = 3;
/// Longest delay that a host may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// What a try came to, if not to an answer.
pub(super) enum TryError {
    /// No try will end otherwise.
    ForGood(Missing),
    /// The host did not answer in time.
    TimedOut,
    /// It may pass.
    ForNow { detail: String, retry_after: Option<Duration> },
}

impl TryError {
    /// A fault of the connection. The text does not hold the URL, whose query may be secret.
    pub(super) fn from_transport(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::TimedOut;
        }
        if guard::was_refused(&error) {
            return Self::ForGood(guard::refused());
        }
        let detail = shared::failure::chain(&error.without_url());
        Self::ForNow { detail, retry_after: None }
    }
}

/// Two clients: one that reaches public addresses only, and one for the exempt hosts.
pub(super) struct Client {
    public: reqwest::Client,
    exempt: reqwest::Client,
    allow_hosts: HashSet<String>,
}

impl Client {
    pub(super) fn new(
        allow_hosts: HashSet<String>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let builder = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .no_proxy()
                .redirect(Policy::none())
                .referer(false)
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .user_agent(concat!("makapix-bdr/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self {
            public: builder().dns_resolver(PublicResolver).build()?,
            exempt: builder().build()?,
            allow_hosts,
        })
    }

    /// The answer to a GET, once its status is good and its body would be the file itself.
    pub(super) async fn get(self: Arc<Self>, mut url: Url) -> Result<Response, TryError> {
        for _ in 0..=MOST_REDIRECTS {
            let client = match guard::judge(&url, &self.allow_hosts) {
                Verdict::Public => &self.public,
                Verdict::Exempt => &self.exempt,
                Verdict::Refused => return Err(TryError::ForGood(guard::refused())),
            };
            let response = client
                .get(url.clone())
                .header(ACCEPT_ENCODING, "identity")
                .send()
                .await
                .map_err(TryError::from_transport)?;
            if !response.status().is_redirection() {
                return accepted(response);
            }
            url = redirected(&url, &response)?;
        }
        Err(TryError::ForGood(not_there("too many redirects")))
    }
}

fn redirected(from: &Url, response: &Response) -> Result<Url, TryError> {
    response
        .headers()
        .get(LOCATION)
        .and_then(|location| location.to_str().ok())
        .and_then(|location| from.join(location).ok())
        .ok_or_else(|| TryError::ForGood(not_there("a redirect to nowhere")))
}

fn accepted(response: Response) -> Result<Response, TryError> {
    let status = response.status();
    match status.as_u16() {
        200 | 203 => {}
        408 | 425 | 429 | 500..=599 => {
            let retry_after = retry_after(&response);
            return Err(TryError::ForNow { detail: format!("status {status}"), retry_after });
        }
        _ => return Err(TryError::ForGood(not_found(status))),
    }
    let encoded = response
        .headers()
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        return Err(TryError::ForGood(not_there("the body has a Content-Encoding")));
    }
    Ok(response)
}

fn not_found(status: StatusCode) -> Missing {
    Missing::for_good("This artwork's file was not found.").because(format!("status {status}"))
}

fn not_there(detail: &str) -> Missing {
    Missing::for_good("This artwork's file could not be downloaded.").because(detail)
}

/// `Retry-After` in seconds, as far as we are ready to wait. The form with a date is rare and
/// counts as absent.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}
