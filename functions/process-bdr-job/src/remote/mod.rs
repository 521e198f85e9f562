//! Fetches artworks from the web. Hosts are treated as hostile, with bounded time and retries.
//!
//! Users supply the URL, the host may lie about everything, and Lambda's runtime API listens on loopback.
//! [`guard`], [`redirect`] and [`resolver`] decide which URLs may be requested; [`hosts`], [`web`] and this
//! module, how long and how often.

mod address;
mod client;
mod guard;
mod hosts;
pub mod redirect;
mod resolver;
mod web;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::attempt::jittered;
use crate::missing::Missing;
use client::{Client, TryError};
use hosts::Host;

pub use address::is_public;
pub use guard::Target;
pub use hosts::{Hosts, Turn};
pub use web::{Limits, Web};

/// Maximum number of tries for one artwork.
const MAX_TRIES: u32 = 4;
/// Delay before the second try; doubled before each later one.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// The client for artworks on the web.
pub struct Remote {
    client: Arc<Client>,
}

/// A remote artwork whose response has begun and whose body is not yet read.
pub struct OpenRemote {
    response: Response,
    url: Url,
    tries: Tries,
}

/// The tries for one artwork, and the time that is left for them.
struct Tries {
    client: Arc<Client>,
    turn: Turn,
    made: u32,
    left_of_all: Duration,
    left_of_try: Duration,
}

impl Remote {
    /// Returns a client. `allow_hosts` are `host:port` pairs that are exempt from the ban on private
    /// addresses and other ports.
    ///
    /// # Errors
    /// When the TLS configuration is invalid.
    pub fn new(
        allow_hosts: HashSet<String>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Self::within(&Web::default(), allow_hosts)
    }

    /// Returns a client for another web.
    ///
    /// # Errors
    /// When the TLS configuration is invalid.
    pub fn within(
        web: &Web,
        allow_hosts: HashSet<String>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self { client: Arc::new(Client::new(web, allow_hosts)?) })
    }

    /// Requests an artwork and returns after the head of the response.
    ///
    /// # Errors
    /// When the artwork is missing, permanently or for now.
    pub async fn open(&self, url: Url, turn: Turn) -> Result<OpenRemote, Missing> {
        let mut tries = Tries {
            client: Arc::clone(&self.client),
            turn,
            made: 0,
            left_of_all: self.client.limits.all_tries,
            left_of_try: self.client.limits.one_try,
        };
        let response = tries.open(&url).await?;
        Ok(OpenRemote { response, url, tries })
    }
}

impl OpenRemote {
    /// Returns the size that the host announces, in bytes.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// Reads the whole artwork, at most `limit` bytes. A body that breaks off is requested again from its
    /// start: a range would save little, and few hosts identify the file version.
    ///
    /// # Errors
    /// When it is larger, or missing.
    pub async fn read(mut self, limit: u64) -> Result<Bytes, Missing> {
        let announced = self.size();
        loop {
            let response = self.response;
            match self.tries.limited(body(response, announced.unwrap_or(limit).min(limit))).await {
                Ok(bytes) => {
                    self.tries.turn.host().record_response();
                    return Ok(bytes);
                }
                Err(error) => {
                    self.tries.wait_after(error).await?;
                    self.response = self.tries.open(&self.url).await?;
                }
            }
        }
    }
}

impl Tries {
    /// Tries until the head of a response arrives.
    async fn open(&mut self, url: &Url) -> Result<Response, Missing> {
        loop {
            self.made += 1;
            self.left_of_try = self.client.limits.one_try.min(self.left_of_all);
            let client = Arc::clone(&self.client);
            match self.limited(client.get(url.clone())).await {
                Ok(response) => return Ok(response),
                Err(error) => self.wait_after(error).await?,
            }
        }
    }

    /// Runs a step of a try within the time that is left, and subtracts the time that it took.
    async fn limited<T>(
        &mut self,
        step: impl Future<Output = Result<T, TryError>>,
    ) -> Result<T, TryError> {
        let begun = Instant::now();
        let until = (begun + self.left_of_try).min(self.turn.stop_at());
        let result = timeout_at(until, step).await.unwrap_or(Err(TryError::TimedOut));
        let took = begun.elapsed();
        self.left_of_try = self.left_of_try.saturating_sub(took);
        self.left_of_all = self.left_of_all.saturating_sub(took);
        result
    }

    /// Waits until the next try is due.
    ///
    /// # Errors
    /// When there is none: the cause is permanent, or time or tries are used up.
    async fn wait_after(&mut self, error: TryError) -> Result<(), Missing> {
        let (missing, retry_after) = match error {
            TryError::Permanent(missing) => return Err(missing),
            TryError::TimedOut => {
                self.turn.host().record_timeout();
                (Host::unresponsive(), None)
            }
            TryError::Transient { detail, retry_after } => {
                self.turn.host().record_response();
                (
                    Missing::transient("This artwork's file could not be downloaded.", detail),
                    retry_after,
                )
            }
        };
        let delay = retry_after.unwrap_or_else(|| {
            jittered(RETRY_DELAY * 2_u32.pow(self.made.saturating_sub(1).min(8)))
        });
        let due = Instant::now() + delay;
        let worthwhile = self.made < MAX_TRIES
            && !self.turn.host().is_given_up()
            && delay < self.left_of_all
            && due < self.turn.stop_at();
        if !worthwhile {
            return Err(missing);
        }
        self.left_of_all -= delay;
        tokio::time::sleep_until(due).await;
        Ok(())
    }
}

/// Reads a body of at most `limit` bytes.
async fn body(mut response: Response, limit: u64) -> Result<Bytes, TryError> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(TryError::from_transport)? {
        if (whole.len() + chunk.len()) as u64 > limit {
            return Err(TryError::Permanent(
                Missing::too_large().with_detail("the body exceeds MAX_ARTWORK_BYTES"),
            ));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// Returns the URLs that must be rejected, by kind. The scenarios read the same file.
#[cfg(test)]
fn rejected_urls() -> std::collections::BTreeMap<String, Vec<String>> {
    serde_json::from_str(include_str!("../../fixtures/refused_urls.json")).unwrap()
}
