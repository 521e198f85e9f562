//! Artworks on the web: fetched as from an enemy, and with patience that ends.
//!
//! The URL was typed by somebody, the host may lie about everything, and Lambda's own runtime API
//! listens on loopback. What may be asked at all is decided in [`guard`], [`redirect`] and
//! [`resolver`]; how long and how often a host is asked, in [`hosts`], [`web`] and here.

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

use crate::artwork::{Missing, jittered, too_large};
use client::{Client, TryError};
use hosts::Host;

pub use address::is_public;
pub use guard::Target;
pub use hosts::{Hosts, Turn};
pub use web::{Limits, Web};

/// Most tries at one artwork.
const MAX_TRIES: u32 = 4;
/// Delay before the second try; doubled for each later one.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Fetches artworks from the web.
pub struct Remote {
    client: Arc<Client>,
}

/// A remote artwork whose answer has begun well and whose body has not been read yet.
pub struct OpenRemote {
    response: Response,
    url: Url,
    tries: Tries,
}

/// The tries at one artwork: what they may still cost.
struct Tries {
    client: Arc<Client>,
    turn: Turn,
    made: u32,
    left_of_all: Duration,
    left_of_try: Duration,
}

impl Remote {
    /// `allow_hosts` are `host:port` pairs exempt from the ban on private addresses and odd ports.
    ///
    /// # Errors
    /// When the TLS configuration cannot be made.
    pub fn new(
        allow_hosts: HashSet<String>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Self::within(&Web::default(), allow_hosts)
    }

    /// The same, in another web.
    ///
    /// # Errors
    /// When the TLS configuration cannot be made.
    pub fn within(
        web: &Web,
        allow_hosts: HashSet<String>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self { client: Arc::new(Client::new(web, allow_hosts)?) })
    }

    /// Asks for an artwork, up to the head of the answer.
    ///
    /// # Errors
    /// When it cannot be had, for good or this time.
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
    /// The size that the host announces, in bytes.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The whole artwork, at most `limit` bytes. One that breaks off is asked for again from its
    /// start: a range would save little, and few hosts say whether it is of the same file.
    ///
    /// # Errors
    /// When it is larger, or cannot be had.
    pub async fn read(mut self, limit: u64) -> Result<Bytes, Missing> {
        let announced = self.size();
        loop {
            let response = self.response;
            match self.tries.limited(body(response, announced.unwrap_or(limit).min(limit))).await {
                Ok(bytes) => {
                    self.tries.turn.host().answered();
                    return Ok(bytes);
                }
                Err(error) => {
                    self.tries.after(error).await?;
                    self.response = self.tries.open(&self.url).await?;
                }
            }
        }
    }
}

impl Tries {
    /// Tries until the head of an answer is there.
    async fn open(&mut self, url: &Url) -> Result<Response, Missing> {
        loop {
            self.made += 1;
            self.left_of_try = self.client.limits.one_try.min(self.left_of_all);
            let client = Arc::clone(&self.client);
            match self.limited(client.get(url.clone())).await {
                Ok(response) => return Ok(response),
                Err(error) => self.after(error).await?,
            }
        }
    }

    /// Runs a step of a try within what is left, and takes what it took off that.
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

    /// Waits until another try is due.
    ///
    /// # Errors
    /// When none is: the cause will not pass, or time or tries are used up.
    async fn after(&mut self, error: TryError) -> Result<(), Missing> {
        let (missing, asked_delay) = match error {
            TryError::ForGood(missing) => return Err(missing),
            TryError::TimedOut => {
                self.turn.host().timed_out();
                (Host::silent(), None)
            }
            TryError::ForNow { detail, retry_after } => {
                self.turn.host().answered();
                (
                    Missing::transient("This artwork's file could not be downloaded.", detail),
                    retry_after,
                )
            }
        };
        let delay = asked_delay.unwrap_or_else(|| {
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
            return Err(TryError::ForGood(
                too_large().with_detail("the body is longer than allowed"),
            ));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// URLs that must not be asked, by kind. The scenarios read the same file.
#[cfg(test)]
fn refused_urls() -> std::collections::BTreeMap<String, Vec<String>> {
    serde_json::from_str(include_str!("../../fixtures/refused_urls.json")).unwrap()
}
