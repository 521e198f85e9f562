//! What was uploaded, and by which rules it becomes an object.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

/// S3's limit for all parts but the last.
const SMALLEST_PART: u64 = 5 * 1024 * 1024;

/// The contents of an object or a part.
#[derive(Debug, Clone, Default)]
pub(crate) struct Object {
    pub(crate) size: u64,
    /// Empty unless they were to be kept.
    pub(crate) bytes: Vec<Bytes>,
}

/// How a part is named at completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartName {
    pub(crate) number: u32,
    /// Without quotation marks.
    pub(crate) e_tag: String,
}

/// Why S3 refuses, by its own code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoSuchUpload,
    InvalidPart,
    InvalidPartOrder,
    EntityTooSmall,
    PreconditionFailed,
}

/// Objects, and uploads that are not yet objects.
#[derive(Debug, Default)]
pub(crate) struct Store(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    keep: bool,
    objects: HashMap<String, Object>,
    uploads: HashMap<String, Upload>,
    /// Names given so far.
    names: u64,
}

#[derive(Debug, Default)]
struct Upload {
    parts: BTreeMap<u32, (String, Object)>,
}

impl Store {
    pub(crate) fn reset(&self, keep: bool) {
        let mut state = self.state();
        // Names go on: one from before must not come to mean something else.
        *state = State { keep, names: state.names, ..State::default() };
    }

    /// Whether the bytes of uploads are wanted.
    pub(crate) fn keeps(&self) -> bool {
        self.state().keep
    }

    pub(crate) fn object(&self, key: &str) -> Option<Object> {
        self.state().objects.get(key).cloned()
    }

    /// Stores an object; `new` is `If-None-Match: *`. Returns its `ETag`.
    pub(crate) fn put(&self, key: String, object: Object, new: bool) -> Result<String, Refusal> {
        let mut state = self.state();
        if new && state.objects.contains_key(&key) {
            return Err(Refusal::PreconditionFailed);
        }
        state.objects.insert(key, object);
        Ok(state.name())
    }

    /// Begins an upload, and returns its id.
    pub(crate) fn create(&self) -> String {
        let mut state = self.state();
        let id = state.name();
        state.uploads.insert(id.clone(), Upload::default());
        id
    }

    /// Takes a part, and returns its `ETag`.
    pub(crate) fn part(&self, upload: &str, number: u32, part: Object) -> Result<String, Refusal> {
        let mut state = self.state();
        let e_tag = state.name();
        let upload = state.uploads.get_mut(upload).ok_or(Refusal::NoSuchUpload)?;
        upload.parts.insert(number, (e_tag.clone(), part));
        Ok(e_tag)
    }

    /// Makes an object of the parts; `new` is `If-None-Match: *`. Returns its `ETag`.
    pub(crate) fn complete(
        &self,
        key: String,
        upload: &str,
        parts: &[PartName],
        new: bool,
    ) -> Result<String, Refusal> {
        let object =
            self.state().uploads.get(upload).ok_or(Refusal::NoSuchUpload)?.joined(parts)?;
        let e_tag = self.put(key, object, new)?;
        self.abort(upload)?;
        Ok(e_tag)
    }

    /// Forgets an upload.
    pub(crate) fn abort(&self, upload: &str) -> Result<(), Refusal> {
        self.state().uploads.remove(upload).map(drop).ok_or(Refusal::NoSuchUpload)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn name(&mut self) -> String {
        self.names += 1;
        format!("{:032x}", self.names)
    }
}

impl Upload {
    fn joined(&self, parts: &[PartName]) -> Result<Object, Refusal> {
        if !parts.is_sorted_by(|a, b| a.number < b.number) {
            return Err(Refusal::InvalidPartOrder);
        }
        let mut whole = Object::default();
        for (index, name) in parts.iter().enumerate() {
            let (e_tag, part) = self.parts.get(&name.number).ok_or(Refusal::InvalidPart)?;
            if *e_tag != name.e_tag {
                return Err(Refusal::InvalidPart);
            }
            if part.size < SMALLEST_PART && index + 1 < parts.len() {
                return Err(Refusal::EntityTooSmall);
            }
            whole.size += part.size;
            whole.bytes.extend_from_slice(&part.bytes);
        }
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(size: u64) -> Object {
        Object { size, bytes: Vec::new() }
    }

    fn complete(sizes: &[u64], numbers: &[u32]) -> Result<u64, Refusal> {
        let store = Store::default();
        let upload = store.create();
        let mut names = Vec::new();
        for (number, &size) in (1..).zip(sizes) {
            let e_tag = store.part(&upload, number, sized(size))?;
            names.push(PartName { number, e_tag });
        }
        let picked: Vec<_> =
            numbers.iter().map(|number| names[*number as usize - 1].clone()).collect();
        store.complete("k".into(), &upload, &picked, true)?;
        assert_eq!(store.abort(&upload), Err(Refusal::NoSuchUpload));
        Ok(store.object("k").unwrap().size)
    }

    #[test]
    fn parts_become_an_object_by_the_rules_of_s3() {
        assert_eq!(complete(&[SMALLEST_PART, SMALLEST_PART, 3], &[1, 2, 3]), Ok(10_485_763));
        assert_eq!(complete(&[SMALLEST_PART - 1, 3], &[1, 2]), Err(Refusal::EntityTooSmall));
        assert_eq!(complete(&[SMALLEST_PART, 3], &[2, 1]), Err(Refusal::InvalidPartOrder));
        assert_eq!(complete(&[3], &[1]), Ok(3));
    }

    #[test]
    fn an_object_that_must_be_new_replaces_none() {
        let store = Store::default();
        store.put("k".into(), sized(1), true).unwrap();
        assert_eq!(store.put("k".into(), sized(2), true), Err(Refusal::PreconditionFailed));
        store.put("k".into(), sized(2), false).unwrap();
        let upload = store.create();
        assert_eq!(
            store.complete("k".into(), &upload, &[], true),
            Err(Refusal::PreconditionFailed)
        );
        assert_eq!(store.object("k").unwrap().size, 2);
    }
}
