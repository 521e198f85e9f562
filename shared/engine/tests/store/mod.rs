//! A store in memory with the rules of S3, and with trouble on request.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use zip_to_s3::plan::{MAX_PART, MIN_PART};
use zip_to_s3::s3::Part;
use zip_to_s3::store::{Found, Opened, Store, StoreError, StoreErrorKind, UploadId};

/// A bucket.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) objects: HashMap<String, Stored>,
    uploads: HashMap<String, HashMap<u16, Bytes>>,
    pub(crate) trouble: Trouble,
    pub(crate) gets: usize,
    pub(crate) heads: usize,
    pub(crate) copies: usize,
}

/// An object.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) bytes: Bytes,
    /// Distinguishes versions.
    pub(crate) version: u32,
    pub(crate) has_crc32: bool,
}

/// What goes wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trouble {
    /// Bodies break off after this many bytes, once for each GET of two.
    pub(crate) break_after: Option<usize>,
    /// The object with this key gets another version after its first GET.
    pub(crate) changes: Option<String>,
    /// Every nth request is throttled.
    pub(crate) throttle_every: Option<usize>,
    /// Copies are refused.
    pub(crate) refuse_copies: bool,
    /// A bit of every part flips on its way.
    pub(crate) flip_parts: bool,
    /// A bit of every body flips on its way.
    pub(crate) flip_bodies: bool,
    pub(crate) requests: usize,
}

const CHUNK: usize = 1_000_003;

fn error<T>(kind: StoreErrorKind, text: &str) -> Result<T, StoreError> {
    Err(StoreError::new(kind, text))
}

fn flipped(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    if let Some(byte) = bytes.last_mut() {
        *byte ^= 1;
    }
    bytes.into()
}

impl Memory {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn add(&self, key: &str, bytes: Bytes, has_crc32: bool) {
        let stored = Stored { bytes, version: 1, has_crc32 };
        self.state().objects.insert(key.to_owned(), stored);
    }

    /// Returns an object, and that no upload is left.
    pub(crate) fn object(&self, key: &str) -> Option<Bytes> {
        let state = self.state();
        assert!(state.uploads.is_empty(), "an upload is left");
        state.objects.get(key).map(|stored| stored.bytes.clone())
    }

    fn request(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let mut state = self.state();
        state.trouble.requests += 1;
        match state.trouble.throttle_every {
            Some(every) if state.trouble.requests.is_multiple_of(every) => {
                error(StoreErrorKind::Throttled, "SlowDown")
            }
            _ => Ok(state),
        }
    }
}

impl State {
    fn find(&self, key: &str, if_match: Option<&str>) -> Result<&Stored, StoreError> {
        let Some(stored) = self.objects.get(key) else {
            return error(StoreErrorKind::Missing, "NoSuchKey");
        };
        if if_match.is_some_and(|e_tag| e_tag != stored.e_tag()) {
            return error(StoreErrorKind::Conflict, "PreconditionFailed");
        }
        Ok(stored)
    }
}

impl Stored {
    pub(crate) fn e_tag(&self) -> String {
        format!("\"{}\"", self.version)
    }

    fn crc32(&self) -> Option<u32> {
        self.has_crc32.then(|| crc32fast::hash(&self.bytes))
    }

    fn cut(&self, range: Option<Range<u64>>) -> Bytes {
        let index = |position| usize::try_from(position).unwrap();
        match range {
            None => self.bytes.clone(),
            Some(range) => self.bytes.slice(index(range.start)..index(range.end)),
        }
    }
}

impl Store for Memory {
    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        if_match: Option<&str>,
    ) -> Result<Opened, StoreError> {
        tokio::task::yield_now().await;
        let mut state = self.request()?;
        state.gets += 1;
        let trouble = state.trouble.clone();
        let stored = state.find(key, if_match)?;
        let crc32 = if range.is_none() { stored.crc32() } else { None };
        let (size, e_tag) = (stored.bytes.len() as u64, Some(stored.e_tag()));
        let mut bytes = stored.cut(range);
        if trouble.flip_bodies {
            bytes = flipped(&bytes);
        }
        let mut chunks = Vec::new();
        let breaks = trouble.break_after.filter(|_| state.gets % 2 == 1);
        let announced = bytes.len();
        bytes.truncate(breaks.unwrap_or(announced));
        let is_short = bytes.len() < announced;
        while !bytes.is_empty() {
            chunks.push(Ok(bytes.split_to(bytes.len().min(CHUNK))));
        }
        if is_short {
            chunks.push(error(StoreErrorKind::Transient, "the body broke off"));
        }
        if trouble.changes.as_deref() == Some(key) {
            state.objects.get_mut(key).unwrap().version += 1;
        }
        Ok(Opened { size, e_tag, crc32, body: stream::iter(chunks).boxed() })
    }

    async fn head(&self, key: &str) -> Result<Found, StoreError> {
        tokio::task::yield_now().await;
        let mut state = self.request()?;
        state.heads += 1;
        let stored = state.find(key, None)?;
        let (size, e_tag) = (stored.bytes.len() as u64, Some(stored.e_tag()));
        Ok(Found { size, e_tag, crc32: stored.crc32(), can_copy: true })
    }

    async fn put(
        &self,
        key: &str,
        bytes: Bytes,
        replace: bool,
    ) -> Result<Option<String>, StoreError> {
        let mut state = self.request()?;
        if !replace && state.objects.contains_key(key) {
            return error(StoreErrorKind::Conflict, "PreconditionFailed");
        }
        let stored = Stored { bytes, version: 1, has_crc32: true };
        state.objects.insert(key.to_owned(), stored);
        Ok(None)
    }

    async fn create(&self, _: &str) -> Result<String, StoreError> {
        let mut state = self.request()?;
        state.uploads.insert("upload".to_owned(), HashMap::new());
        Ok("upload".to_owned())
    }

    async fn upload_part(
        &self,
        upload: UploadId<'_>,
        number: u16,
        body: Vec<Bytes>,
        crc32: u32,
    ) -> Result<Part, StoreError> {
        tokio::task::yield_now().await;
        let mut state = self.request()?;
        let mut bytes = Bytes::from(body.concat());
        if state.trouble.flip_parts {
            bytes = flipped(&bytes);
        }
        if crc32fast::hash(&bytes) != crc32 {
            return error(StoreErrorKind::Refused, "BadDigest");
        }
        state.uploads.get_mut(upload.id).unwrap().insert(number, bytes);
        Ok(Part { number, e_tag: "part".to_owned(), crc32: Some(crc32) })
    }

    async fn copy_part(
        &self,
        upload: UploadId<'_>,
        number: u16,
        source: &str,
        if_match: &str,
        range: Option<Range<u64>>,
    ) -> Result<Part, StoreError> {
        tokio::task::yield_now().await;
        let mut state = self.request()?;
        state.copies += 1;
        if state.trouble.refuse_copies {
            return error(StoreErrorKind::Refused, "AccessDenied");
        }
        let bytes = state.find(source, Some(if_match))?.cut(range);
        let crc32 = Some(crc32fast::hash(&bytes));
        state.uploads.get_mut(upload.id).unwrap().insert(number, bytes);
        Ok(Part { number, e_tag: "part".to_owned(), crc32 })
    }

    async fn complete(
        &self,
        upload: UploadId<'_>,
        parts: &[Part],
        replace: bool,
    ) -> Result<Option<String>, StoreError> {
        let mut state = self.request()?;
        if !replace && state.objects.contains_key(upload.key) {
            return error(StoreErrorKind::Conflict, "PreconditionFailed");
        }
        assert!(parts.is_sorted_by(|a, b| a.number < b.number) && parts.len() <= 10_000);
        let stored = state.uploads.remove(upload.id).unwrap();
        let (last, others) = parts.split_last().unwrap();
        let size = |part: &Part| stored[&part.number].len() as u64;
        assert!(others.iter().all(|part| (MIN_PART..=MAX_PART).contains(&size(part))));
        assert!(size(last) <= MAX_PART && stored.len() == parts.len());
        let whole: Vec<_> = parts.iter().map(|part| &stored[&part.number][..]).collect();
        let stored = Stored { bytes: whole.concat().into(), version: 1, has_crc32: false };
        state.objects.insert(upload.key.to_owned(), stored);
        Ok(None)
    }

    async fn abort(&self, upload: UploadId<'_>) -> Result<(), StoreError> {
        self.state().uploads.remove(upload.id);
        Ok(())
    }
}
