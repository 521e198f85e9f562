//! How many artworks are asked for before their turn.
//!
//! Small files cost little but the wait for each, so many are asked for at once. Large ones fill the
//! budget of bytes, and more of them open would only keep connections waiting. Which of the two a
//! request is, shows as the sizes come in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::memory::{MIB, Memory};

/// The most artworks asked for at once. S3 answers 5,500 GETs a second and prefix ("Best practices
/// design patterns: optimizing Amazon S3 performance"), and artworks have many prefixes; this many at 30 ms
/// are 6,400, of which a function with one CPU comes to 4,800. Each one costs a connection and 40 KiB of
/// memory.
const MOST: u32 = 192;

/// The most as long as fewer sizes than that are known: should the files turn out to be large, so many
/// connections will have been opened for nothing.
const MAX_UNKNOWN: u32 = 128;

/// A function with less memory asks for fewer, in proportion: it has as much less of a CPU, which it rather
/// spends on artworks than on the TLS handshakes of connections that it would wait for anyway.
const ALL_FROM: u64 = 512 * MIB;

/// Bytes of files asked for and not yet read, in budgets: one that is being read, and others that wait at
/// their hosts. What has come of a body that nobody reads is a buffer of its connection.
const BUDGETS: u64 = 4;

/// Lets artworks be asked for, in order.
#[derive(Clone)]
pub(super) struct Window(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    most: u32,
    most_unknown: u32,
    /// Bytes of files asked for and not yet read.
    bytes: u64,
}

#[derive(Default)]
struct State {
    /// Asked for, and of unknown size yet.
    unknown: u32,
    /// Of known size, and not yet read.
    unread: u32,
    unread_bytes: u64,
    /// All sizes that ever were known.
    seen: u64,
    seen_bytes: u64,
}

/// The place of one artwork, from its being asked for until it has been read.
pub(super) struct Slot {
    window: Window,
    /// Its size, once that is known.
    size: Option<u64>,
}

impl Window {
    /// For the artworks of one request.
    pub(super) fn new(memory: &Memory) -> Self {
        let in_proportion = |most: u32| {
            let share = u64::from(most) * memory.function_bytes.min(ALL_FROM) / ALL_FROM;
            u32::try_from(share).unwrap_or(most).max(1)
        };
        Self(Arc::new(Shared {
            state: Mutex::default(),
            changed: Notify::new(),
            most: in_proportion(MOST),
            most_unknown: in_proportion(MAX_UNKNOWN),
            bytes: BUDGETS * memory.fetch_budget,
        }))
    }

    /// Waits until one more may be asked for.
    pub(super) async fn enter(&self) -> Slot {
        loop {
            // Before the look: a change in between must not be missed.
            let changed = self.0.changed.notified();
            if self.state().admit(&self.0) {
                return Slot { window: self.clone(), size: None };
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn admit(&mut self, limits: &Shared) -> bool {
        let open = self.unknown + self.unread;
        // What is yet unknown is expected to be as large as what came before.
        let expected = self.seen_bytes.checked_div(self.seen).unwrap_or(0);
        let bytes = self.unread_bytes + expected * u64::from(self.unknown + 1);
        let few_are_known = self.seen < limits.most_unknown.into();
        let most = if few_are_known { limits.most_unknown } else { limits.most };
        // One is always let in, however large.
        if open > 0 && (open >= most || bytes > limits.bytes) {
            return false;
        }
        self.unknown += 1;
        true
    }
}

impl Slot {
    /// The size has become known.
    pub(super) fn is_of(&mut self, size: u64) {
        {
            let mut state = self.window.state();
            state.unknown -= 1;
            state.unread += 1;
            state.unread_bytes += size;
            state.seen += 1;
            state.seen_bytes += size;
        }
        self.size = Some(size);
        self.window.0.changed.notify_one();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        {
            let mut state = self.window.state();
            match self.size {
                None => state.unknown -= 1,
                Some(size) => {
                    state.unread -= 1;
                    state.unread_bytes -= size;
                }
            }
        }
        self.window.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::{Slot, Window};
    use crate::memory::{MIB, Memory};

    fn window() -> Window {
        Window::new(&Memory::plan(512 * MIB, 64 * MIB))
    }

    /// Lets in as many as may be, and makes each of this size.
    fn fill(window: &Window, size: Option<u64>) -> Vec<Slot> {
        let mut places = Vec::new();
        while let Some(mut place) = window.enter().now_or_never() {
            if let Some(size) = size {
                place.is_of(size);
            }
            places.push(place);
        }
        places
    }

    #[test]
    fn small_files_are_asked_for_all_at_once() {
        assert_eq!(fill(&window(), None).len(), 128, "as long as no size is known");
        assert_eq!(fill(&window(), Some(10_000)).len(), 192);
    }

    #[test]
    fn a_small_function_asks_for_fewer() {
        let window = || Window::new(&Memory::plan(128 * MIB, 64 * MIB));
        assert_eq!(fill(&window(), None).len(), 32);
        assert_eq!(fill(&window(), Some(10_000)).len(), 48);
        assert_eq!(fill(&Window::new(&Memory::plan(10_240 * MIB, 64 * MIB)), None).len(), 128);
    }

    #[test]
    fn large_files_are_asked_for_as_the_budget_allows() {
        let window = window();
        let open = fill(&window, Some(5_000_000));
        assert_eq!(open.len(), 9);
        // Their sizes are expected of those to come.
        drop(open);
        assert_eq!(fill(&window, None).len(), 9);
    }

    #[test]
    fn one_is_let_in_however_large_it_is() {
        let window = window();
        let mut first = window.enter().now_or_never().unwrap();
        first.is_of(u64::MAX / 4);
        assert!(window.enter().now_or_never().is_none());
        drop(first);
        assert_eq!(fill(&window, Some(u64::MAX / 4)).len(), 1);
    }

    #[test]
    fn who_waits_is_woken() {
        let window = window();
        let mut places = fill(&window, None);
        let mut waiting = Box::pin(window.enter());
        assert!(waiting.as_mut().now_or_never().is_none());
        places.pop();
        assert!(waiting.now_or_never().is_some());
    }
}
