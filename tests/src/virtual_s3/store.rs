//! Objects and multipart uploads, by the rules of S3 ("Amazon S3 multipart upload limits",
//! `UploadPartCopy`, `CompleteMultipartUpload`).

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use axum::http::StatusCode;

use super::content::Content;

/// Minimum size of a part that is not the last one, and of a copied object of which a range is copied.
const MIN_PART: u64 = 5 << 20;
const MAX_PART: u64 = 5 << 30;
const MAX_PARTS: u32 = 10_000;
/// Parts whose bytes are kept.
const KEPT_OF_SEGMENT: u32 = 2;
const KEPT_OF_ARCHIVE: u32 = 40;

/// An error of S3: its status and its code.
pub(super) type S3Error = (StatusCode, &'static str);

const NO_SUCH_KEY: S3Error = (StatusCode::NOT_FOUND, "NoSuchKey");
pub(super) const PRECONDITION_FAILED: S3Error =
    (StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
pub(super) const INVALID_REQUEST: S3Error = (StatusCode::BAD_REQUEST, "InvalidRequest");
const NO_SUCH_UPLOAD: S3Error = (StatusCode::NOT_FOUND, "NoSuchUpload");
const INVALID_PART: S3Error = (StatusCode::BAD_REQUEST, "InvalidPart");
const INVALID_PART_ORDER: S3Error = (StatusCode::BAD_REQUEST, "InvalidPartOrder");
const INVALID_ARGUMENT: S3Error = (StatusCode::BAD_REQUEST, "InvalidArgument");
const ENTITY_TOO_SMALL: S3Error = (StatusCode::BAD_REQUEST, "EntityTooSmall");
const ENTITY_TOO_LARGE: S3Error = (StatusCode::BAD_REQUEST, "EntityTooLarge");

/// An object.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) content: Content,
    pub(super) e_tag: String,
}

/// A part as `CompleteMultipartUpload` lists it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) number: u32,
    pub(super) e_tag: String,
    pub(super) crc32: Option<String>,
}

#[derive(Debug)]
struct Part {
    content: Content,
    listed: Listed,
}

#[derive(Debug, Default)]
struct Upload {
    key: String,
    parts: BTreeMap<u32, Part>,
    has_copies: bool,
}

/// All objects and uploads. Buckets are not distinguished.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) objects: BTreeMap<String, Object>,
    uploads: HashMap<String, Upload>,
    ids: u64,
}

impl Store {
    pub(super) fn object(&self, key: &str) -> Result<&Object, S3Error> {
        self.objects.get(key).ok_or(NO_SUCH_KEY)
    }

    /// Stores an object, and returns its `ETag`. `is_new` is `If-None-Match: *`.
    pub(super) fn put(
        &mut self,
        key: &str,
        content: Content,
        is_new: bool,
    ) -> Result<String, S3Error> {
        if is_new && self.objects.contains_key(key) {
            return Err(PRECONDITION_FAILED);
        }
        let e_tag = self.next_id();
        self.objects.insert(key.to_owned(), Object { content, e_tag: e_tag.clone() });
        Ok(e_tag)
    }

    pub(super) fn create(&mut self, key: &str) -> String {
        let id = self.next_id();
        self.uploads.insert(id.clone(), Upload { key: key.to_owned(), ..Upload::default() });
        id
    }

    /// Returns the keys and ids of the open uploads.
    pub(super) fn uploads(&self) -> Vec<(String, String)> {
        self.uploads.iter().map(|(id, upload)| (upload.key.clone(), id.clone())).collect()
    }

    /// Returns whether the bytes of a part are kept: of a segment the first ones, because an archive begins
    /// with pieces of them; of an archive the beginning, and what follows a copy, which is its end.
    pub(super) fn keeps(&self, id: &str, number: u32) -> bool {
        let Some(upload) = self.uploads.get(id) else { return false };
        let kept = if upload.key.contains("/segment-") { KEPT_OF_SEGMENT } else { KEPT_OF_ARCHIVE };
        number <= kept || upload.has_copies
    }

    /// Stores a part, and returns its `ETag`.
    pub(super) fn part(
        &mut self,
        id: &str,
        number: u32,
        crc32: String,
        content: Content,
    ) -> Result<String, S3Error> {
        let e_tag = self.next_id();
        let upload = self.uploads.get_mut(id).ok_or(NO_SUCH_UPLOAD)?;
        if !(1..=MAX_PARTS).contains(&number) {
            return Err(INVALID_ARGUMENT);
        }
        if content.size() > MAX_PART {
            return Err(ENTITY_TOO_LARGE);
        }
        let listed = Listed { number, e_tag: e_tag.clone(), crc32: Some(crc32) };
        upload.parts.insert(number, Part { content, listed });
        Ok(e_tag)
    }

    /// Makes a part of another object, and returns its `ETag` and checksum.
    pub(super) fn copy(
        &mut self,
        id: &str,
        number: u32,
        Object { content, e_tag }: &Object,
        if_match: &str,
        range: Option<Range<u64>>,
    ) -> Result<(String, String), S3Error> {
        if e_tag != if_match {
            return Err(PRECONDITION_FAILED);
        }
        let size = content.size();
        let content = match range {
            None => content.clone(),
            Some(_) if size <= MIN_PART => return Err(INVALID_REQUEST),
            Some(range) if range.start >= range.end || range.end > size => {
                return Err(INVALID_ARGUMENT);
            }
            Some(range) => content.slice(range),
        };
        // The CRC32 of bytes that were not kept is unknown; any text of its form does.
        let unknown = || u32::try_from(self.ids).unwrap_or_default();
        let crc32 = super::base64(content.crc32().unwrap_or_else(unknown).to_be_bytes());
        let e_tag = self.part(id, number, crc32.clone(), content)?;
        if let Some(upload) = self.uploads.get_mut(id) {
            upload.has_copies = true;
        }
        Ok((e_tag, crc32))
    }

    /// Stores the listed parts as an object, and returns its `ETag`.
    pub(super) fn complete(
        &mut self,
        key: &str,
        id: &str,
        listed: &[Listed],
        is_new: bool,
    ) -> Result<String, S3Error> {
        let upload = self.uploads.get(id).ok_or(NO_SUCH_UPLOAD)?;
        if !listed.is_sorted_by(|a, b| a.number < b.number) {
            return Err(INVALID_PART_ORDER);
        }
        let mut whole = Content::default();
        for (index, listed_part) in listed.iter().enumerate() {
            let part = upload.parts.get(&listed_part.number).ok_or(INVALID_PART)?;
            if part.listed != *listed_part {
                return Err(INVALID_PART);
            }
            if part.content.size() < MIN_PART && index + 1 < listed.len() {
                return Err(ENTITY_TOO_SMALL);
            }
            whole.append(&part.content);
        }
        let e_tag = self.put(key, whole, is_new)?;
        self.abort(id)?;
        Ok(e_tag)
    }

    pub(super) fn abort(&mut self, id: &str) -> Result<(), S3Error> {
        self.uploads.remove(id).map(drop).ok_or(NO_SUCH_UPLOAD)
    }

    fn next_id(&mut self) -> String {
        self.ids += 1;
        format!("{:032x}", self.ids)
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::Received;
    use super::*;

    const MIB: u64 = 1 << 20;

    fn content(size: u64) -> Content {
        Received { size, crc32: 0, bytes: None }.into()
    }

    /// Copies this range of an object of `size` bytes.
    fn copy(size: u64, range: Option<Range<u64>>) -> Result<(), S3Error> {
        let mut store = Store::default();
        let e_tag = store.put("source", content(size), false).unwrap();
        let id = store.create("k");
        let source = store.object("source")?.clone();
        store.copy(&id, 1, &source, &e_tag, range).map(drop)
    }

    #[test]
    fn copies_follow_the_rules_of_s3() {
        assert_eq!(copy(5 * MIB, None), Ok(()));
        assert_eq!(copy(5 * MIB, Some(0..5 * MIB)), Err(INVALID_REQUEST));
        assert_eq!(copy(6 * MIB, Some(0..5 * MIB)), Ok(()));
        assert_eq!(copy(6 * MIB, Some(0..7 * MIB)), Err(INVALID_ARGUMENT));
        assert_eq!(copy(6144 * MIB, Some(0..5120 * MIB)), Ok(()));
        assert_eq!(copy(6144 * MIB, Some(0..5120 * MIB + 1)), Err(ENTITY_TOO_LARGE));
    }

    /// Completes an upload of parts of these sizes, listed in this order.
    fn complete(sizes: &[u64], order: &[u32]) -> Result<u64, S3Error> {
        let mut store = Store::default();
        let id = store.create("k");
        let mut e_tags = HashMap::new();
        for (number, size) in (1..).zip(sizes) {
            let e_tag = store.part(&id, number, "c".to_owned(), content(*size))?;
            e_tags.insert(number, e_tag);
        }
        let listed = order.iter().map(|number| {
            let e_tag = e_tags.get(number).cloned().unwrap_or_default();
            Listed { number: *number, e_tag, crc32: Some("c".to_owned()) }
        });
        store.complete("k", &id, &listed.collect::<Vec<_>>(), true)?;
        Ok(store.object("k")?.content.size())
    }

    #[test]
    fn parts_follow_the_rules_of_s3() {
        assert_eq!(complete(&[5 * MIB, 1], &[1, 2]), Ok(5 * MIB + 1));
        assert_eq!(complete(&[5 * MIB - 1, 1], &[1, 2]), Err(ENTITY_TOO_SMALL));
        assert_eq!(complete(&[5 * MIB, 5 * MIB], &[2, 1]), Err(INVALID_PART_ORDER));
        assert_eq!(complete(&[5 * MIB], &[1, 2]), Err(INVALID_PART));
    }
}
