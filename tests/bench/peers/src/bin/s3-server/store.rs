//! Objects and multipart uploads, by the rules of S3.

use std::collections::{BTreeMap, HashMap};

use axum::http::StatusCode;
use bytes::Bytes;

/// The minimum size of all parts but the last ("Amazon S3 multipart upload limits").
const MIN_PART_SIZE: u64 = 5 * 1024 * 1024;

/// The content of an object or a part.
#[derive(Debug, Clone, Default)]
pub(crate) struct Object {
    pub(crate) size: u64,
    /// Empty unless the store keeps content.
    pub(crate) chunks: Vec<Bytes>,
}

/// An error of S3: its status and its code.
pub(crate) type S3Error = (StatusCode, &'static str);

const NO_SUCH_KEY: S3Error = (StatusCode::NOT_FOUND, "NoSuchKey");
const NO_SUCH_UPLOAD: S3Error = (StatusCode::NOT_FOUND, "NoSuchUpload");
const INVALID_PART: S3Error = (StatusCode::BAD_REQUEST, "InvalidPart");
const INVALID_PART_ORDER: S3Error = (StatusCode::BAD_REQUEST, "InvalidPartOrder");
const ENTITY_TOO_SMALL: S3Error = (StatusCode::BAD_REQUEST, "EntityTooSmall");
const PRECONDITION_FAILED: S3Error = (StatusCode::PRECONDITION_FAILED, "PreconditionFailed");

/// All objects and uploads.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// Whether the content of uploads is kept.
    pub(crate) keep: bool,
    objects: HashMap<String, Object>,
    uploads: HashMap<String, BTreeMap<u32, (String, Object)>>,
    /// The number of ids and `ETag`s so far.
    ids: u64,
}

impl Store {
    /// Deletes everything. Ids are not used again.
    pub(crate) fn reset(&mut self, keep: bool) {
        *self = Self { keep, ids: self.ids, ..Self::default() };
    }

    /// Returns the sizes of all objects by key.
    pub(crate) fn sizes(&self) -> BTreeMap<String, u64> {
        self.objects.iter().map(|(key, object)| (key.clone(), object.size)).collect()
    }

    pub(crate) fn object(&self, key: &str) -> Result<&Object, S3Error> {
        self.objects.get(key).ok_or(NO_SUCH_KEY)
    }

    /// Stores an object and returns its `ETag`. `new` is `If-None-Match: *`.
    pub(crate) fn put(&mut self, key: &str, object: Object, new: bool) -> Result<String, S3Error> {
        if new && self.objects.contains_key(key) {
            return Err(PRECONDITION_FAILED);
        }
        self.objects.insert(key.to_owned(), object);
        Ok(self.next_id())
    }

    /// Creates an upload and returns its id.
    pub(crate) fn create(&mut self) -> String {
        let id = self.next_id();
        self.uploads.insert(id.clone(), BTreeMap::new());
        id
    }

    /// Stores a part and returns its `ETag`.
    pub(crate) fn part(&mut self, id: &str, number: u32, part: Object) -> Result<String, S3Error> {
        let e_tag = self.next_id();
        let parts = self.uploads.get_mut(id).ok_or(NO_SUCH_UPLOAD)?;
        parts.insert(number, (e_tag.clone(), part));
        Ok(e_tag)
    }

    /// Stores the parts with these numbers and `ETag`s as an object and returns its `ETag`. `new` is
    /// `If-None-Match: *`.
    pub(crate) fn complete(
        &mut self,
        key: &str,
        id: &str,
        listed: &[(u32, String)],
        new: bool,
    ) -> Result<String, S3Error> {
        let parts = self.uploads.get(id).ok_or(NO_SUCH_UPLOAD)?;
        if !listed.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(INVALID_PART_ORDER);
        }
        let mut object = Object::default();
        for (index, (number, listed_e_tag)) in listed.iter().enumerate() {
            let part = parts.get(number).filter(|(e_tag, _)| e_tag == listed_e_tag);
            let (_, part) = part.ok_or(INVALID_PART)?;
            if part.size < MIN_PART_SIZE && index + 1 < listed.len() {
                return Err(ENTITY_TOO_SMALL);
            }
            object.size += part.size;
            object.chunks.extend_from_slice(&part.chunks);
        }
        let e_tag = self.put(key, object, new)?;
        self.abort(id)?;
        Ok(e_tag)
    }

    /// Deletes an upload.
    pub(crate) fn abort(&mut self, id: &str) -> Result<(), S3Error> {
        self.uploads.remove(id).map(drop).ok_or(NO_SUCH_UPLOAD)
    }

    fn next_id(&mut self) -> String {
        self.ids += 1;
        format!("{:032x}", self.ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(size: u64) -> Object {
        Object { size, chunks: Vec::new() }
    }

    fn complete(sizes: &[u64], numbers: &[u32]) -> Result<u64, S3Error> {
        let mut store = Store::default();
        let upload = store.create();
        let mut parts = Vec::new();
        for (number, &size) in (1..).zip(sizes) {
            parts.push((number, store.part(&upload, number, sized(size))?));
        }
        let listed: Vec<_> =
            numbers.iter().map(|number| parts[*number as usize - 1].clone()).collect();
        store.complete("k", &upload, &listed, true)?;
        assert_eq!(store.abort(&upload), Err(NO_SUCH_UPLOAD));
        Ok(store.object("k").unwrap().size)
    }

    #[test]
    fn parts_become_an_object_by_the_rules_of_s3() {
        assert_eq!(complete(&[MIN_PART_SIZE, MIN_PART_SIZE, 3], &[1, 2, 3]), Ok(10_485_763));
        assert_eq!(complete(&[MIN_PART_SIZE - 1, 3], &[1, 2]), Err(ENTITY_TOO_SMALL));
        assert_eq!(complete(&[MIN_PART_SIZE, 3], &[2, 1]), Err(INVALID_PART_ORDER));
        assert_eq!(complete(&[3], &[1]), Ok(3));
    }

    #[test]
    fn an_object_that_must_be_new_replaces_none() {
        let mut store = Store::default();
        store.put("k", sized(1), true).unwrap();
        assert_eq!(store.put("k", sized(2), true), Err(PRECONDITION_FAILED));
        store.put("k", sized(2), false).unwrap();
        let upload = store.create();
        assert_eq!(store.complete("k", &upload, &[], true), Err(PRECONDITION_FAILED));
        assert_eq!(store.object("k").unwrap().size, 2);
    }
}
