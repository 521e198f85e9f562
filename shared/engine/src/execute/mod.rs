//! Carries out a plan within its memory.
//!
//! The driver goes through the parts in order. For each one that is sent it takes a buffer, cuts it
//! into pieces, and hands each piece to the fetch that fills it. A fetch is one GET: of a whole
//! object, or of a range of about [`FETCH_SIZE`]; its bytes may end in one part and start the next.
//! A part is sent once its pieces are complete. Copies run beside that. Memory:
//! [`Plan::buffers`] × [`Plan::part_size`], headers, and read buffers of connections.
//!
//! **A CRC32 is taken once**, as bytes arrive. That of a part and that of an entry are combined from
//! those of pieces. S3 verifies the part, so a bit that flips in memory is noticed. If S3 states the
//! CRC32 of an object, its header contains that, and the bytes verify it. If not, the part with the
//! header waits for the bytes; an object that spans more parts than there are buffers is read twice.
//!
//! **A source that breaks off is resumed** by range, from the byte where it broke off, if it has the
//! same ETag. If that is not possible, the archive fails: its length is fixed, so it cannot omit an
//! entry that was started. The upload is aborted, and the archive never exists.

mod buffers;
mod sender;
mod sums;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use crc32fast::Hasher;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::Instrument;

use crate::plan::{FETCH_SIZE, Item, Part, Piece, Plan, Terms, TooManyParts};
use crate::report::{Kind, Report};
use crate::s3;
use crate::store::{Store, StoreError, StoreErrorKind, UploadId};
use crate::zip::{Deflated, Frame, Shape, ZipError};
use buffers::{Buffer, Buffers};
use sender::{Sender, backoff, may_pass};
use sums::{Mismatch, Sums, appended};

/// Maximum GETs at once. Small objects need many: 64 of them at 30 ms are 2,000 a second.
const MAX_GETS: usize = 64;
/// Maximum copies, and maximum HEADs, at once.
const MAX_COPIES: usize = 128;
/// Time limit for the next bytes of a body.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(15);
/// Times that a body may break off in a row without a byte.
const MAX_BREAKS: u32 = 6;
/// Time limit for an abort.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

/// An entry of the archive.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name. The caller ensures that names are unique.
    pub name: String,
    /// The time of the last modification.
    pub modified: Option<OffsetDateTime>,
    /// The content.
    pub source: Source,
}

/// The content of an entry.
#[derive(Debug, Clone)]
pub enum Source {
    /// Bytes, which are stored.
    Bytes(Bytes),
    /// A deflated file.
    Deflated(Deflated),
    /// An object of the bucket, which is stored.
    Object(Object),
}

/// An object whose size is known, for example from a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The key.
    pub key: String,
    /// The size in bytes.
    pub size: u64,
    /// The ETag. If it is known, no other version of the object is archived.
    pub e_tag: Option<String>,
}

/// Where an archive goes, and how.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The key.
    pub key: String,
    /// The comment of the archive, which may be empty.
    pub comment: String,
    /// Whether it may replace an object at the key.
    pub replace: bool,
}

/// The archive was not created.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An object does not exist.
    #[error("{key} does not exist")]
    Missing {
        /// Its key.
        key: String,
    },
    /// An object is not, or no longer, the one that was listed.
    #[error("{key} has changed")]
    Changed {
        /// Its key.
        key: String,
    },
    /// The bytes of an object have another CRC32 than S3 states.
    #[error("the bytes of {key} have another CRC32 than S3 states")]
    Checksum {
        /// Its key.
        key: String,
    },
    /// A request failed.
    #[error("failed to {operation} {key}: {error}")]
    Store {
        /// The operation.
        operation: &'static str,
        /// The key.
        key: String,
        /// The error.
        error: StoreError,
    },
    /// There is an object at the destination, or the upload was aborted by another process.
    #[error("the destination exists, or another process aborted the upload: {0}")]
    Conflict(StoreError),
    /// The archive does not fit into an upload.
    #[error(transparent)]
    TooManyParts(#[from] TooManyParts),
    /// The entries do not fit into a ZIP.
    #[error("the entries do not fit into a ZIP: {0}")]
    Zip(#[from] ZipError),
    /// A task panicked.
    #[error("a task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Error {
    fn of(operation: &'static str, key: &str, error: StoreError) -> Self {
        let key = key.to_owned();
        match error.kind {
            StoreErrorKind::Missing => Self::Missing { key },
            StoreErrorKind::Conflict => Self::Changed { key },
            _ => Self::Store { operation, key, error },
        }
    }

    /// Returns whether S3 refused to copy.
    fn is_refused_copy(&self) -> bool {
        matches!(self, Self::Store { operation: COPY, error, .. }
            if error.kind == StoreErrorKind::Refused)
    }
}

const COPY: &str = "copy";

/// Writes these entries, in this order, as one ZIP. The object appears whole or not at all.
///
/// # Errors
/// When an object is missing or has changed, or a request fails for good. The upload is then aborted.
pub async fn archive<S: Store>(
    store: &S,
    to: &Destination,
    entries: Vec<Entry>,
    terms: &Terms,
) -> Result<Report, Error> {
    let mut archive = Archive::new(store.clone(), to.clone(), entries);
    archive.learn(terms).await?;
    let archive = Arc::new(archive);
    match archive.clone().write(terms).await {
        // Permission to read an object does not include all that a copy needs, such as its key in KMS.
        Err(error) if error.is_refused_copy() => {
            tracing::info!(error = %error, "S3 refuses a copy; sending every byte instead");
            archive.write(&Terms { may_copy: false, ..*terms }).await
        }
        result => result,
    }
}

/// An archive to be written.
struct Archive<S> {
    store: S,
    to: Destination,
    entries: Vec<Entry>,
    /// What HEAD requests returned about objects, by entry.
    learnt: Vec<Learnt>,
    sender: Sender,
}

#[derive(Debug, Clone, Default)]
struct Learnt {
    crc32: Option<u32>,
    e_tag: Option<String>,
    can_copy: bool,
}

impl Source {
    /// Returns the size of the body in the archive.
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Deflated(file) => file.bytes().len() as u64,
            Self::Object(object) => object.size,
        }
    }

    /// Returns the CRC32 that the headers contain, and the bytes, of an entry that is not an object.
    fn held(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Deflated(file) => Some(file.bytes()),
            Self::Object(_) => None,
        }
    }
}

impl<S: Store> Archive<S> {
    fn new(store: S, to: Destination, entries: Vec<Entry>) -> Self {
        let learnt = entries.iter().map(|entry| match &entry.source {
            Source::Object(object) => Learnt { e_tag: object.e_tag.clone(), ..Learnt::default() },
            Source::Bytes(bytes) => {
                Learnt { crc32: Some(crc32fast::hash(bytes)), ..Learnt::default() }
            }
            Source::Deflated(file) => {
                Learnt { crc32: Some(file.body().crc32), ..Learnt::default() }
            }
        });
        let learnt = learnt.collect();
        Self { store, to, learnt, entries, sender: Sender::default() }
    }

    fn object(&self, entry: usize) -> Option<&Object> {
        match &self.entries[entry].source {
            Source::Object(object) => Some(object),
            _ => None,
        }
    }

    fn key(&self, entry: usize) -> &str {
        self.object(entry).map_or("", |object| &object.key)
    }

    /// Requests the metadata of objects that may be copied or are fetched in several ranges.
    async fn learn(&mut self, terms: &Terms) -> Result<(), Error> {
        let least = terms.crossover().min(FETCH_SIZE + 1);
        let heads = (0..self.entries.len())
            .filter(|entry| self.object(*entry).is_some_and(|object| object.size >= least));
        let this = &*self;
        let found: Vec<_> = stream::iter(heads)
            .map(|entry| async move { Ok::<_, Error>((entry, this.head(entry).await?)) })
            .buffer_unordered(MAX_COPIES)
            .try_collect()
            .await?;
        for (entry, learnt) in found {
            self.learnt[entry] = learnt;
        }
        Ok(())
    }

    async fn head(&self, entry: usize) -> Result<Learnt, Error> {
        let Some(object) = self.object(entry) else { return Ok(Learnt::default()) };
        let head = || self.store.head(&object.key);
        let found = self.sender.send(Kind::Head, head).await;
        let found = found.map_err(|error| Error::of("read the metadata of", &object.key, error))?;
        let is_same = object.e_tag.is_none() || object.e_tag == found.e_tag;
        if found.size != object.size || !is_same {
            return Err(Error::Changed { key: object.key.clone() });
        }
        let can_copy = found.can_copy && found.crc32.is_some() && found.e_tag.is_some();
        Ok(Learnt { crc32: found.crc32, e_tag: found.e_tag, can_copy })
    }

    async fn write(self: Arc<Self>, terms: &Terms) -> Result<Report, Error> {
        let frame = self.frame(|entry| self.learnt[entry].crc32.unwrap_or(0))?;
        let items = self.entries.iter().enumerate().map(|(entry, Entry { source, .. })| Item {
            header: frame.header_size(entry),
            body: source.size(),
            can_copy: self.learnt[entry].can_copy,
        });
        let items: Vec<_> = items.collect();
        let plan = Plan::new(&items, frame.tail().len() as u64, terms)?;
        let size = plan.parts.iter().map(Part::size).sum();
        let copied_bytes = plan.copied_bytes();
        tracing::debug!(
            entries = items.len(),
            parts = plan.parts.len(),
            part_size = plan.part_size,
            size_bytes = size,
            copied_bytes,
            "planned an archive"
        );
        let mut upload = Upload { archive: Arc::clone(&self), id: None };
        let sums = self.sums(&plan).await?;
        let e_tag = match upload.run(plan, frame, sums).await {
            Ok(e_tag) => e_tag,
            Err(error) => {
                upload.abort().await;
                return Err(error);
            }
        };
        let requests = self.sender.counter.requests();
        Ok(Report { size, e_tag, requests, sent_bytes: size - copied_bytes, copied_bytes })
    }

    fn frame(&self, crc32: impl Fn(usize) -> u32) -> Result<Frame, ZipError> {
        let shapes = self.entries.iter().enumerate().map(|(index, entry)| {
            let Entry { name, modified, source } = entry;
            match source {
                Source::Deflated(file) => file.shape(name, *modified),
                Source::Bytes(_) | Source::Object(_) => {
                    Shape::stored(name, *modified, crc32(index), source.size())
                }
            }
        });
        Frame::new(&shapes.collect::<Vec<_>>(), &self.to.comment)
    }

    /// Returns the known CRC32s. Reads objects whose part with the header could not wait for their end.
    async fn sums(&self, plan: &Plan) -> Result<Sums, Error> {
        let mut spans = vec![0; self.entries.len()];
        for part in &plan.parts {
            let Part::Send(pieces) = part else { continue };
            for piece in pieces {
                if let Piece::Body { entry, .. } = piece {
                    spans[*entry] += 1;
                }
            }
        }
        let mut known: Vec<_> = self.learnt.iter().map(|learnt| learnt.crc32).collect();
        for (entry, spans) in spans.into_iter().enumerate() {
            // One buffer for the part before, where the header may be.
            if known[entry].is_none() && spans > plan.buffers.saturating_sub(1).max(2) {
                known[entry] = Some(self.read_crc32(entry).await?);
            }
        }
        Ok(Sums::new(self.entries.iter().map(|entry| entry.source.size()).zip(known)))
    }

    async fn read_crc32(&self, entry: usize) -> Result<u32, Error> {
        let object = self.object(entry).map_or(0, |object| object.size);
        tracing::info!(key = self.key(entry), "reading an object twice: S3 has no CRC32 of it");
        let hashes = ranges(object).map(|range| async move {
            let (mut hasher, size) = (Hasher::new(), range.end - range.start);
            let mut reader = Reader::new(self, entry, range);
            while let Some(bytes) = reader.next().await? {
                hasher.update(&bytes);
            }
            Ok::<_, Error>((size, hasher.finalize()))
        });
        let whole =
            stream::iter(hashes).buffered(4).try_fold(Hasher::new(), |whole, (size, crc32)| {
                std::future::ready(Ok(appended(whole, size, crc32)))
            });
        Ok(whole.await?.finalize())
    }
}

/// Divides a body into the ranges that are fetched.
fn ranges(size: u64) -> impl Iterator<Item = Range<u64>> {
    let step = fetch_size(size);
    (0..size.div_ceil(step)).map(move |index| index * step..size.min((index + 1) * step))
}

/// Returns the size of the ranges in which a body of this size is fetched.
fn fetch_size(size: u64) -> u64 {
    size.div_ceil(size.div_ceil(FETCH_SIZE).max(1)).max(1)
}

/// The bytes of a range of an object, resumed where they broke off.
struct Reader<'a, S> {
    archive: &'a Archive<S>,
    entry: usize,
    range: Range<u64>,
    e_tag: Option<String>,
    crc32: Option<u32>,
    body: Option<BoxStream<'static, Result<Bytes, StoreError>>>,
    breaks: u32,
}

impl<'a, S: Store> Reader<'a, S> {
    fn new(archive: &'a Archive<S>, entry: usize, range: Range<u64>) -> Self {
        let e_tag = archive.learnt[entry].e_tag.clone();
        Self { archive, entry, range, e_tag, crc32: None, body: None, breaks: 0 }
    }

    /// Returns the next bytes, or `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let body = match &mut self.body {
                Some(body) => body,
                None if self.range.is_empty() => return Ok(None),
                None => self.open().await?,
            };
            let late = || StoreError::new(StoreErrorKind::Transient, "the body stalled");
            let next = timeout(CHUNK_TIMEOUT, body.next()).await;
            let error = match next.unwrap_or_else(|_| Some(Err(late()))) {
                Some(Ok(bytes)) if bytes.len() as u64 > self.range.end - self.range.start => {
                    StoreError::new(StoreErrorKind::Transient, "the body is too long")
                }
                Some(Ok(bytes)) => {
                    self.range.start += bytes.len() as u64;
                    self.breaks = 0;
                    return Ok(Some(bytes));
                }
                // Read to its end, so that its connection serves the next request.
                None if self.range.is_empty() => return Ok(None),
                None => StoreError::new(StoreErrorKind::Transient, "the body is too short"),
                Some(Err(error)) => error,
            };
            self.body = None;
            self.breaks += 1;
            if !may_pass(&error) || self.breaks > MAX_BREAKS {
                return Err(Error::of("read", self.archive.key(self.entry), error));
            }
            tracing::debug!(error = %error, position = self.range.start, "resuming an object");
            sleep(backoff(self.breaks, &error)).await;
        }
    }

    async fn open(&mut self) -> Result<&mut BoxStream<'static, Result<Bytes, StoreError>>, Error> {
        let Archive { store, sender, .. } = self.archive;
        let key = self.archive.key(self.entry);
        let size = self.archive.object(self.entry).map_or(0, |object| object.size);
        let range = (self.range != (0..size)).then(|| self.range.clone());
        let get = || store.get(key, range.clone(), self.e_tag.as_deref());
        let opened = sender.send(Kind::Get, get).await;
        let opened = opened.map_err(|error| Error::of("read", key, error))?;
        let is_same = self.e_tag.is_none() || self.e_tag == opened.e_tag;
        if opened.size != size || !is_same {
            return Err(Error::Changed { key: key.to_owned() });
        }
        self.e_tag = opened.e_tag;
        self.crc32 = opened.crc32;
        Ok(self.body.insert(opened.body))
    }
}

/// The upload of an archive. A drop aborts it in the background.
struct Upload<S: Store> {
    archive: Arc<Archive<S>>,
    id: Option<String>,
}

impl<S: Store> Upload<S> {
    async fn run(&mut self, plan: Plan, frame: Frame, sums: Sums) -> Result<Option<String>, Error> {
        let Archive { store, to, sender, .. } = &*self.archive;
        let failed = |operation| {
            move |error: StoreError| match error.kind {
                StoreErrorKind::Conflict => Error::Conflict(error),
                _ => Error::Store { operation, key: to.key.clone(), error },
            }
        };
        let is_whole = matches!(&plan.parts[..], [Part::Send(_)]);
        if !is_whole {
            let create = || store.create(&to.key);
            let id = sender.send(Kind::Whole, create).await.map_err(failed("create"))?;
            self.id = Some(id);
        }
        let sent = Sent {
            archive: Arc::clone(&self.archive),
            upload: self.id.clone().unwrap_or_default(),
            frame,
            sums,
        };
        let mut driver = Driver::new(Arc::new(sent), &plan);
        driver.drive(plan).await?;
        let e_tag = if let Some(id) = &self.id {
            let upload = UploadId { key: &to.key, id };
            let mut parts = driver.parts;
            parts.sort_unstable_by_key(|part| part.number);
            let complete = || store.complete(upload, &parts, to.replace);
            sender.send(Kind::Whole, complete).await.map_err(failed("complete"))?
        } else {
            let whole = driver.whole;
            let put = || store.put(&to.key, whole.clone(), to.replace);
            sender.send(Kind::Whole, put).await.map_err(failed("create"))?
        };
        self.id = None;
        Ok(e_tag)
    }

    async fn abort(&mut self) {
        if let Some(id) = self.id.take() {
            abort(&self.archive, &id).await;
        }
    }
}

async fn abort<S: Store>(archive: &Archive<S>, id: &str) {
    let abort = archive.store.abort(UploadId { key: &archive.to.key, id });
    let aborted = timeout(ABORT_TIMEOUT, abort).await;
    let error = match aborted {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(elapsed) => elapsed.to_string(),
    };
    tracing::warn!(error, "failed to abort the upload; leaving it to the lifecycle rule");
}

impl<S: Store> Drop for Upload<S> {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), Handle::try_current()) else { return };
        let archive = Arc::clone(&self.archive);
        runtime.spawn(async move { abort(&archive, &id).await }.in_current_span());
    }
}

/// What the tasks of an upload share.
struct Sent<S> {
    archive: Arc<Archive<S>>,
    /// The id of the upload.
    upload: String,
    frame: Frame,
    sums: Sums,
}

/// Room for some bytes of a body, in a part buffer.
struct Slot {
    room: BytesMut,
    size: usize,
    filled: oneshot::Sender<Filled>,
}

/// Some bytes of a part.
struct Filled {
    bytes: Bytes,
    crc32: u32,
}

impl Filled {
    fn of(bytes: Bytes) -> Self {
        Self { crc32: crc32fast::hash(&bytes), bytes }
    }
}

/// A piece of a part that will be complete.
enum Coming {
    Header(usize, Range<u64>),
    Body(oneshot::Receiver<Filled>),
    Held(Bytes),
    Tail(Range<u64>),
}

/// A fetch that has not received all of its slots.
struct Fetch {
    entry: usize,
    rest: Range<u64>,
    slots: mpsc::UnboundedSender<Slot>,
}

/// What a task has done.
enum Done {
    Fetched,
    Part(s3::Part),
    Whole(Bytes),
}

struct Driver<S: Store> {
    sent: Arc<Sent<S>>,
    tasks: JoinSet<Result<Done, Error>>,
    gets: Arc<Semaphore>,
    copies: Arc<Semaphore>,
    buffers: Arc<Buffers>,
    /// The end of the bytes that are sent of each body.
    ends: Vec<u64>,
    fetch: Option<Fetch>,
    parts: Vec<s3::Part>,
    whole: Bytes,
}

impl<S: Store> Driver<S> {
    fn new(sent: Arc<Sent<S>>, plan: &Plan) -> Self {
        let mut ends = vec![0; sent.archive.entries.len()];
        let mut largest = 0;
        for part in &plan.parts {
            let Part::Send(pieces) = part else { continue };
            largest = largest.max(part.size());
            for piece in pieces {
                if let Piece::Body { entry, range } = piece {
                    ends[*entry] = range.end;
                }
            }
        }
        Self {
            sent,
            tasks: JoinSet::new(),
            gets: Arc::new(Semaphore::new(MAX_GETS)),
            copies: Arc::new(Semaphore::new(MAX_COPIES)),
            buffers: Buffers::new(plan.buffers, usize::try_from(largest).unwrap_or(usize::MAX)),
            ends,
            fetch: None,
            parts: Vec::with_capacity(plan.parts.len()),
            whole: Bytes::new(),
        }
    }

    async fn drive(&mut self, plan: Plan) -> Result<(), Error> {
        let is_whole = plan.parts.len() == 1;
        let numbered = || (1..).zip(&plan.parts);
        for (number, part) in numbered() {
            if let Part::Copy { entry, range } = part {
                let copy =
                    copy(self.sent.clone(), self.copies.clone(), number, *entry, range.clone());
                self.tasks.spawn(copy.in_current_span());
            }
        }
        for (number, part) in numbered() {
            let Part::Send(pieces) = part else { continue };
            let taking = self.buffers.clone().take();
            let Some(mut buffer) = self.wait_for(taking).await? else { continue };
            let mut coming = Vec::with_capacity(pieces.len());
            for piece in pieces {
                self.begin(piece, &mut buffer, &mut coming).await?;
            }
            let send = send(self.sent.clone(), number, coming, buffer, is_whole);
            self.tasks.spawn(send.in_current_span());
        }
        while let Some(done) = self.tasks.join_next().await {
            self.done(done??);
        }
        Ok(())
    }

    /// Waits, and meanwhile takes the results of tasks.
    ///
    /// # Errors
    /// The first error of a task.
    async fn wait_for<T>(&mut self, waiting: impl Future<Output = T>) -> Result<T, Error> {
        let mut waiting = std::pin::pin!(waiting);
        loop {
            tokio::select! {
                biased;
                value = &mut waiting => return Ok(value),
                Some(done) = self.tasks.join_next() => self.done(done??),
            }
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Fetched => {}
            Done::Part(part) => self.parts.push(part),
            Done::Whole(bytes) => self.whole = bytes,
        }
    }

    /// Begins a piece of a part.
    async fn begin(
        &mut self,
        piece: &Piece,
        buffer: &mut Buffer,
        coming: &mut Vec<Coming>,
    ) -> Result<(), Error> {
        let (entry, range) = match piece {
            Piece::Header { entry, range } => {
                coming.push(Coming::Header(*entry, range.clone()));
                return Ok(());
            }
            Piece::Tail { range } => {
                coming.push(Coming::Tail(range.clone()));
                return Ok(());
            }
            Piece::Body { entry, range } => (*entry, range.clone()),
        };
        if let Some(bytes) = self.sent.archive.entries[entry].source.held() {
            coming.push(Coming::Held(bytes.slice(index(&range))));
            return Ok(());
        }
        let mut rest = range;
        while !rest.is_empty() {
            let mut fetch = match self.fetch.take() {
                Some(fetch) if fetch.entry == entry && !fetch.rest.is_empty() => fetch,
                _ => self.start_fetch(entry, rest.start).await?,
            };
            let end = rest.end.min(fetch.rest.end);
            let size = index(&(rest.start..end)).len();
            let (filled, filling) = oneshot::channel();
            // A fetch that has failed ends the archive by its own result.
            let _ = fetch.slots.send(Slot { room: buffer.cut(size), size, filled });
            coming.push(Coming::Body(filling));
            rest.start = end;
            fetch.rest.start = end;
            self.fetch = Some(fetch);
        }
        Ok(())
    }

    async fn start_fetch(&mut self, entry: usize, position: u64) -> Result<Fetch, Error> {
        let permit = self.wait_for(self.gets.clone().acquire_owned()).await?;
        let size = self.sent.archive.object(entry).map_or(0, |object| object.size);
        let step = fetch_size(size);
        let end = self.ends[entry].min((position / step + 1) * step);
        let (slots, receiver) = mpsc::unbounded_channel();
        let rest = position..end;
        let fetching = fetch(self.sent.clone(), entry, rest.clone(), receiver, permit.ok());
        self.tasks.spawn(fetching.in_current_span());
        Ok(Fetch { entry, rest, slots })
    }
}

/// Returns a range as one of indices.
fn index(range: &Range<u64>) -> Range<usize> {
    let index = |position| usize::try_from(position).unwrap_or(usize::MAX);
    index(range.start)..index(range.end)
}

/// Fetches a range of an object into slots.
async fn fetch<S: Store>(
    sent: Arc<Sent<S>>,
    entry: usize,
    range: Range<u64>,
    mut slots: mpsc::UnboundedReceiver<Slot>,
    _permit: Option<OwnedSemaphorePermit>,
) -> Result<Done, Error> {
    let mismatch = |Mismatch| Error::Checksum { key: sent.archive.key(entry).to_owned() };
    let mut position = range.start;
    let mut reader = Reader::new(&sent.archive, entry, range);
    let mut slot: Option<(Slot, Hasher)> = None;
    while let Some(mut bytes) = reader.next().await? {
        if let Some(crc32) = reader.crc32.take() {
            sent.sums.state(entry, crc32).map_err(mismatch)?;
        }
        while !bytes.is_empty() {
            let (mut current, mut hasher) = match slot.take() {
                Some(slot) => slot,
                None => match slots.recv().await {
                    Some(slot) => (slot, Hasher::new()),
                    // The driver has stopped.
                    None => return Ok(Done::Fetched),
                },
            };
            let room = current.size - current.room.len();
            let part = bytes.split_to(room.min(bytes.len()));
            hasher.update(&part);
            current.room.extend_from_slice(&part);
            if current.room.len() < current.size {
                slot = Some((current, hasher));
                continue;
            }
            let (size, crc32) = (current.size as u64, hasher.finalize());
            sent.sums.add(entry, position, size, crc32).map_err(mismatch)?;
            position += size;
            // A part that has failed ends the archive by its own result.
            let _ = current.filled.send(Filled { bytes: current.room.freeze(), crc32 });
        }
    }
    Ok(Done::Fetched)
}

/// Sends a part once its pieces are complete.
async fn send<S: Store>(
    sent: Arc<Sent<S>>,
    number: u16,
    coming: Vec<Coming>,
    buffer: Buffer,
    is_whole: bool,
) -> Result<Done, Error> {
    let mut body = Vec::with_capacity(coming.len());
    let mut whole = Hasher::new();
    for coming in coming {
        let filled = match coming {
            Coming::Header(entry, range) => {
                let header = sent.frame.header(entry, sent.sums.wait(entry).await);
                Filled::of(header.slice(index(&range)))
            }
            Coming::Held(bytes) => Filled::of(bytes),
            Coming::Tail(range) => Filled::of(sent.tail().await?.slice(index(&range))),
            Coming::Body(filling) => match filling.await {
                Ok(filled) => filled,
                // The fetch has failed, and its result ends the archive.
                Err(_) => std::future::pending().await,
            },
        };
        whole = appended(whole, filled.bytes.len() as u64, filled.crc32);
        body.push(filled.bytes);
    }
    if is_whole {
        return Ok(Done::Whole(body.concat().into()));
    }
    let Archive { store, to, sender, .. } = &*sent.archive;
    let crc32 = whole.finalize();
    let upload = UploadId { key: &to.key, id: &sent.upload };
    let part = || store.upload_part(upload, number, body.clone(), crc32);
    let part = sender.send(Kind::Part, part).await;
    // The pieces first, so that the buffer can be reused.
    drop(body);
    drop(buffer);
    let failed = |error| match error {
        StoreError { kind: StoreErrorKind::Conflict, .. } => Error::Conflict(error),
        error => Error::Store { operation: "send a part of", key: to.key.clone(), error },
    };
    Ok(Done::Part(part.map_err(failed)?))
}

/// Copies a part.
async fn copy<S: Store>(
    sent: Arc<Sent<S>>,
    permits: Arc<Semaphore>,
    number: u16,
    entry: usize,
    range: Range<u64>,
) -> Result<Done, Error> {
    let _permit = permits.acquire_owned().await;
    let Archive { store, to, sender, learnt, .. } = &*sent.archive;
    let Some(object) = sent.archive.object(entry) else { return Ok(Done::Fetched) };
    let is_whole = range == (0..object.size);
    let range = (!is_whole).then_some(range);
    let Learnt { crc32, e_tag, .. } = &learnt[entry];
    let e_tag = e_tag.as_deref().unwrap_or_default();
    let upload = UploadId { key: &to.key, id: &sent.upload };
    let copy = || store.copy_part(upload, number, &object.key, e_tag, range.clone());
    let part = sender.send(Kind::Copy, copy).await;
    let part = part.map_err(|error| Error::of(COPY, &object.key, error))?;
    if is_whole && part.crc32.is_some() && part.crc32 != *crc32 {
        return Err(Error::Checksum { key: object.key.clone() });
    }
    Ok(Done::Part(part))
}

impl<S: Store> Sent<S> {
    /// Returns the end of the archive, which contains every CRC32.
    async fn tail(&self) -> Result<Bytes, Error> {
        let mut crc32s = Vec::with_capacity(self.archive.entries.len());
        for entry in 0..self.archive.entries.len() {
            crc32s.push(self.sums.wait(entry).await);
        }
        let frame = self.archive.frame(|entry| crc32s[entry])?;
        Ok(Bytes::copy_from_slice(frame.tail()))
    }
}
