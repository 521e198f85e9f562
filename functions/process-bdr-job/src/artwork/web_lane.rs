//! The artworks of the web: fetched host by host, yielded as they arrive.
//!
//! Each host has its own queue, pauses and limit of requests. Hosts share [`MAX_RUNNING_IN_TOTAL`] requests
//! and the web part of the budget, so slow hosts delay others only while they hold those. A waiting
//! artwork is a queue entry, not a task. An artwork that fails transiently goes to the end of its host's
//! queue. It is missing once a try fails that began after its recovery time, or once its host is given up.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesUnordered, Stream, StreamExt};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until, timeout};
use url::Url;

use super::budget::{Part, Share};
use super::vault_lane::check_size;
use super::{FetchedArtwork, MissingArtwork, NotFetched, PlannedArtwork, signature, spawn};
use crate::attempt::{Backoff, jittered};
use crate::missing::{Missing, MissingCode};
use crate::remote::{Host, Limits, Remote, Session, TryError};

/// Requests at a time to all hosts. A head can take 408 KiB before hyper rejects it, and an unread body
/// as much again.
const MAX_RUNNING_IN_TOTAL: usize = 32;
/// A failed artwork is requested again only while its host has fewer running requests than this.
const MAX_RETRYING: u32 = 2;
/// Minimum tries for an artwork whose host responds unusably, as long as time is left for its tries.
const MIN_TRIES: u32 = 4;
/// The first and the maximum delay before an artwork is requested again.
const RETRY_DELAYS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));

/// The scheduler of remote artworks.
pub(super) struct WebLane<'a> {
    remote: Arc<Remote>,
    /// The HTTP client, made for the first artwork. No connection outlives the request, so none can
    /// have died while the function was frozen.
    session: Option<Arc<Session>>,
    arrivals: Option<UnboundedReceiver<(PlannedArtwork<'a>, Url)>>,
    hosts: Vec<HostQueue<'a>>,
    /// The host that is served first next time, so that none starves.
    first: usize,
    by_name: HashMap<String, usize>,
    running: FuturesUnordered<BoxFuture<'static, Ended>>,
    in_flight: HashMap<u64, InFlight<'a>>,
    started: u64,
    /// Artworks that are missing and not yet yielded.
    missing: VecDeque<MissingArtwork<'a>>,
    limits: Limits,
    budget: Part,
    max_bytes: u64,
    stop_at: Instant,
}

/// A host and its artworks that wait.
#[derive(Default)]
struct HostQueue<'a> {
    host: Host,
    /// Artworks that were not tried yet.
    fresh: VecDeque<Waiting<'a>>,
    /// Artworks that failed transiently.
    failed: Vec<Waiting<'a>>,
    /// The last error of a host that is given up.
    last_error: Option<Missing>,
}

/// An artwork that waits for its host.
struct Waiting<'a> {
    planned: PlannedArtwork<'a>,
    url: Url,
    not_before: Option<Instant>,
    tries: u32,
    /// The time of the first failure.
    failed_at: Option<Instant>,
    /// The time that is left for its tries, without waits.
    time_left: Duration,
    backoff: Backoff,
}

/// A try that runs.
struct InFlight<'a> {
    host: usize,
    waiting: Waiting<'a>,
    started_at: Instant,
}

/// A try that ended.
struct Ended {
    number: u64,
    took: Duration,
    result: Result<(Bytes, Share), TryError>,
}

impl<'a> WebLane<'a> {
    pub(super) fn new(
        remote: Arc<Remote>,
        arrivals: UnboundedReceiver<(PlannedArtwork<'a>, Url)>,
        budget: Part,
        max_bytes: u64,
        stop_at: Instant,
    ) -> Self {
        let limits = remote.limits();
        Self {
            remote,
            session: None,
            arrivals: Some(arrivals),
            hosts: Vec::new(),
            first: 0,
            by_name: HashMap::new(),
            running: FuturesUnordered::new(),
            in_flight: HashMap::new(),
            started: 0,
            missing: VecDeque::new(),
            limits,
            budget,
            max_bytes,
            stop_at,
        }
    }

    /// Yields every artwork once, fetched or missing.
    pub(super) fn fetch(
        self,
    ) -> impl Stream<Item = Result<FetchedArtwork<'a>, NotFetched<'a>>> + Send {
        stream::unfold(self, |mut lane| async move { Some((lane.next().await?, lane)) })
    }

    async fn next(&mut self) -> Option<Result<FetchedArtwork<'a>, NotFetched<'a>>> {
        loop {
            let now = Instant::now();
            let is_over = now >= self.stop_at;
            if is_over {
                self.stop();
            }
            let wake_at = self.start_due(now).map_or(self.stop_at, |at| at.min(self.stop_at));
            if let Some(missing) = self.missing.pop_front() {
                return Some(Err(NotFetched::Missing(missing)));
            }
            let is_idle = self.running.is_empty();
            if is_idle && self.arrivals.is_none() && self.hosts.iter().all(HostQueue::is_empty) {
                return None;
            }
            tokio::select! {
                Some(ended) = self.running.next(), if !is_idle => {
                    if let Some(artwork) = self.end(ended) {
                        return Some(Ok(artwork));
                    }
                }
                arrival = arrived(&mut self.arrivals), if self.arrivals.is_some() => match arrival {
                    Some((planned, url)) => self.enqueue(planned, url),
                    None => self.arrivals = None,
                },
                () = sleep_until(wake_at), if !is_over => {}
            }
        }
    }

    fn enqueue(&mut self, planned: PlannedArtwork<'a>, url: Url) {
        let name = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let hosts = &mut self.hosts;
        let index = *self.by_name.entry(name).or_insert_with(|| {
            hosts.push(HostQueue::default());
            hosts.len() - 1
        });
        self.hosts[index].fresh.push_back(Waiting {
            planned,
            url,
            not_before: None,
            tries: 0,
            failed_at: None,
            time_left: self.limits.all_tries,
            backoff: Backoff::new(RETRY_DELAYS),
        });
    }

    /// Starts what may start, and returns the time at which more may.
    fn start_due(&mut self, now: Instant) -> Option<Instant> {
        let mut wake_at: Option<Instant> = None;
        let count = self.hosts.len();
        self.first = (self.first + 1) % count.max(1);
        for index in (self.first..count).chain(0..self.first.min(count)) {
            if self.hosts[index].host.is_given_up() {
                self.give_up(index);
            }
            while self.running.len() < MAX_RUNNING_IN_TOTAL
                && let Some(waiting) = self.hosts[index].due(now)
            {
                self.start(index, waiting);
            }
            if let Some(at) = self.hosts[index].due_at(now) {
                wake_at = Some(wake_at.map_or(at, |earlier| earlier.min(at)));
            }
        }
        wake_at
    }

    fn start(&mut self, host: usize, mut waiting: Waiting<'a>) {
        let session = match &self.session {
            Some(session) => Arc::clone(session),
            None => match self.remote.session() {
                Ok(session) => Arc::clone(self.session.insert(Arc::new(session))),
                Err(error) => {
                    let error = Missing::transient(MissingCode::DownloadFailed, error.to_string());
                    return self.missing.push_back(waiting.planned.missing(error));
                }
            },
        };
        self.hosts[host].host.start();
        waiting.tries += 1;
        self.started += 1;
        let number = self.started;
        let (url, format) = (waiting.url.clone(), waiting.planned.name.extension.clone());
        let (budget, max_bytes) = (self.budget.clone(), self.max_bytes);
        let limit = self.limits.one_try.min(waiting.time_left);
        let trying =
            spawn(async move { fetch(&session, url, &format, &budget, max_bytes, limit).await });
        self.running.push(Box::pin(async move {
            let (took, result) = trying.await.unwrap_or_else(|error| {
                let missing = Missing::transient(MissingCode::DownloadFailed, error.to_string());
                (Duration::ZERO, Err(TryError::Permanent(missing)))
            });
            Ended { number, took, result }
        }));
        self.in_flight.insert(number, InFlight { host, waiting, started_at: Instant::now() });
    }

    /// Records the end of a try: returns the artwork, or queues it as missing or for another try.
    fn end(&mut self, Ended { number, took, result }: Ended) -> Option<FetchedArtwork<'a>> {
        let InFlight { host, mut waiting, started_at } = self.in_flight.remove(&number)?;
        let queue = &mut self.hosts[host];
        waiting.time_left = waiting.time_left.saturating_sub(took);
        let error = match result {
            Ok((bytes, share)) => {
                queue.host.succeed(started_at);
                return Some(FetchedArtwork::new(waiting.planned, bytes, share));
            }
            Err(error) => error,
        };
        let recovery = self.limits.recovery;
        match &error {
            TryError::Permanent(_) | TryError::Unusable(_) => queue.host.succeed(started_at),
            TryError::Unavailable { retry_after, .. } => {
                queue.host.fail(started_at, *retry_after, recovery, self.stop_at);
            }
        }
        let has_had_recovery_time =
            waiting.failed_at.is_some_and(|failed| started_at >= failed + recovery);
        let is_final = match &error {
            TryError::Permanent(_) => true,
            TryError::Unusable(_) => has_had_recovery_time && waiting.tries >= MIN_TRIES,
            TryError::Unavailable { .. } => has_had_recovery_time || queue.host.is_given_up(),
        };
        let error = error.into_missing();
        if queue.host.is_given_up() {
            queue.last_error = Some(error.clone());
        }
        if is_final || waiting.time_left.is_zero() {
            self.missing.push_back(waiting.planned.missing(error));
            return None;
        }
        let now = Instant::now();
        waiting.failed_at.get_or_insert(now);
        waiting.not_before = Some(now + jittered(waiting.backoff.next_delay()));
        queue.failed.push(waiting);
        None
    }

    /// Records the artworks of a host that is given up as missing.
    fn give_up(&mut self, host: usize) {
        let queue = &mut self.hosts[host];
        let error = queue.last_error.clone().unwrap_or_else(|| {
            Missing::transient(MissingCode::HostUnavailable, "the host was given up")
        });
        let missing = queue.drain().map(|waiting| waiting.planned.missing(error.clone()));
        self.missing.extend(missing);
    }

    /// Records everything outstanding as missing.
    fn stop(&mut self) {
        let error = Missing::transient(
            MissingCode::HostUnavailable,
            "it did not arrive before the deadline of remote artworks",
        );
        self.running.clear();
        let in_flight = self.in_flight.drain().map(|(_, running)| running.waiting);
        let waiting = in_flight.chain(self.hosts.iter_mut().flat_map(HostQueue::drain));
        self.missing.extend(waiting.map(|waiting| waiting.planned.missing(error.clone())));
    }
}

impl<'a> HostQueue<'a> {
    fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.failed.is_empty()
    }

    fn drain(&mut self) -> impl Iterator<Item = Waiting<'a>> {
        self.fresh.drain(..).chain(self.failed.drain(..))
    }

    /// Removes an artwork that may be requested now: an untried one first.
    fn due(&mut self, now: Instant) -> Option<Waiting<'a>> {
        if !self.host.is_available(now) {
            return None;
        }
        if let Some(fresh) = self.fresh.pop_front() {
            return Some(fresh);
        }
        if self.host.running() >= MAX_RETRYING {
            return None;
        }
        let due = self.failed.iter().position(|waiting| waiting.not_before <= Some(now))?;
        Some(self.failed.remove(due))
    }

    /// Returns the time at which an artwork becomes due by the passing of time alone.
    fn due_at(&self, now: Instant) -> Option<Instant> {
        let first = if self.fresh.is_empty() {
            self.failed.iter().filter_map(|waiting| waiting.not_before).min()?
        } else {
            now
        };
        Some(first.max(self.host.resumes_at().unwrap_or(first))).filter(|at| *at > now)
    }
}

/// Waits for the next artwork from the plans.
async fn arrived<'a>(
    arrivals: &mut Option<UnboundedReceiver<(PlannedArtwork<'a>, Url)>>,
) -> Option<(PlannedArtwork<'a>, Url)> {
    arrivals.as_mut()?.recv().await
}

/// Makes one try at a file within `limit`. Waits for the budget do not count. Also returns the time that
/// counted.
async fn fetch(
    session: &Session,
    url: Url,
    format: &str,
    budget: &Part,
    max_bytes: u64,
    limit: Duration,
) -> (Duration, Result<(Bytes, Share), TryError>) {
    let mut took = Duration::ZERO;
    let result = async {
        let mut file = within(limit, &mut took, session.get(url)).await?;
        let size = file.size();
        check_size(size.unwrap_or(0), max_bytes)?;
        let mut share = budget.take(size.unwrap_or_else(|| budget.unknown_size())).await;
        let granted = size.unwrap_or_else(|| budget.unknown_size());
        let mut whole = BytesMut::with_capacity(usize::try_from(granted).unwrap_or(0));
        loop {
            let left = limit.saturating_sub(took);
            let Some(chunk) = within(left, &mut took, file.chunk()).await? else { break };
            let length = (whole.len() + chunk.len()) as u64;
            if length > max_bytes {
                let detail = format!("more than {max_bytes} bytes");
                let missing = Missing::permanent(MissingCode::TooLarge).with_detail(detail);
                return Err(missing.into());
            }
            if length > granted {
                budget.grow(&mut share).await;
            }
            whole.extend_from_slice(&chunk);
        }
        signature::check(format, &whole)?;
        Ok((without_spare_memory(whole), share))
    };
    let result = result.await;
    (took, result)
}

/// Returns the bytes. Moves them if their buffer, which was to hold a file of unknown size, is much larger: they stay
/// in use until their part is sent.
fn without_spare_memory(bytes: BytesMut) -> Bytes {
    if bytes.capacity() - bytes.len() > bytes.capacity() / 4 {
        return Bytes::copy_from_slice(&bytes);
    }
    bytes.freeze()
}

/// Runs a step of a try within `limit`, and adds its time to `took`.
async fn within<T>(
    limit: Duration,
    took: &mut Duration,
    step: impl Future<Output = Result<T, TryError>>,
) -> Result<T, TryError> {
    let begun = Instant::now();
    let result = timeout(limit, step).await.unwrap_or_else(|_| Err(TryError::timed_out()));
    *took += begun.elapsed();
    result
}
