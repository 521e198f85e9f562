//! Limits how many artworks are open at once.
//!
//! Small files cost little but latency, so many are opened at once. Large ones fill the budget of
//! bytes, and more open ones only keep connections waiting. The sizes seen so far decide.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::pace::{Pace, Permit};
use crate::memory::{MIB, Memory};

/// Cap on open artworks. S3 serves 5,500 GETs per second and prefix ("Best practices design patterns:
/// optimizing Amazon S3 performance"), which the client obeys; 224 at 30 ms are 7,400, of which a function with one
/// CPU achieves 5,200. Each costs a connection and 32 KiB of memory.
const MAX_OPEN: u32 = 224;

/// Cap until that many sizes are known: if the files turn out to be large, the connections beyond the
/// byte limit were opened for nothing.
const MAX_OPEN_UNKNOWN: u32 = 128;

/// Function memory from which the caps apply in full. A smaller function has proportionally less CPU and
/// lower caps: it spends the CPU on artworks instead of TLS handshakes.
const FULL_CAPS_FROM: u64 = 512 * MIB;

/// Cap on the bytes of open, unread files, in fetch budgets: one that is being read, and three whose
/// bodies wait at their hosts, each with one connection buffer here.
const MAX_OPEN_BUDGETS: u64 = 4;

/// Admits artworks to be opened, in order.
#[derive(Clone)]
pub struct Window(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    max_open: u32,
    max_open_unknown: u32,
    max_open_bytes: u64,
    pace: Pace,
}

#[derive(Default)]
struct State {
    /// Open artworks of unknown size.
    unknown: u32,
    /// Open artworks of known size that are not yet read.
    unread: u32,
    unread_bytes: u64,
    /// Artworks whose size has been known, read ones included.
    seen: u64,
    seen_bytes: u64,
}

/// The slot of one artwork, from its opening until it is read or dropped.
pub(super) struct Slot {
    window: Window,
    /// Its size, once known.
    size: Option<u64>,
}

impl Window {
    /// Returns an empty window for the artworks of one request.
    pub(super) fn new(memory: &Memory) -> Self {
        let max_open = in_proportion(MAX_OPEN, memory);
        Self(Arc::new(Shared {
            state: Mutex::default(),
            changed: Notify::new(),
            max_open,
            max_open_unknown: in_proportion(MAX_OPEN_UNKNOWN, memory),
            max_open_bytes: MAX_OPEN_BUDGETS * memory.fetch_budget,
            pace: Pace::new(max_open),
        }))
    }

    /// Returns the number of artworks that may be open until that many sizes are known.
    pub(super) fn max_open_at_first(memory: &Memory) -> usize {
        in_proportion(MAX_OPEN_UNKNOWN, memory) as usize
    }

    /// Waits until one more artwork may be opened.
    pub(super) async fn enter(&self) -> Slot {
        loop {
            // Before the check, so that no change in between is missed.
            let changed = self.0.changed.notified();
            if self.state().admit(&self.0) {
                return Slot { window: self.clone(), size: None };
            }
            changed.await;
        }
    }

    /// Waits until a request for a piece of an open artwork may run.
    pub(super) async fn permit(&self) -> Permit {
        self.0.pace.permit().await
    }

    /// Returns the time for which the vault was in trouble.
    pub(crate) fn trouble(&self) -> Duration {
        self.0.pace.trouble()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns a cap for a function of this memory.
fn in_proportion(cap: u32, memory: &Memory) -> u32 {
    let share = u64::from(cap) * memory.function_bytes.min(FULL_CAPS_FROM) / FULL_CAPS_FROM;
    u32::try_from(share).unwrap_or(cap).max(1)
}

impl State {
    fn admit(&mut self, limits: &Shared) -> bool {
        let open = self.unknown + self.unread;
        // An unknown size is expected to be the mean of the known ones.
        let expected = self.seen_bytes.checked_div(self.seen).unwrap_or(0);
        let bytes = self.unread_bytes + expected * u64::from(self.unknown + 1);
        let few_are_known = self.seen < limits.max_open_unknown.into();
        let max_open = if few_are_known { limits.max_open_unknown } else { limits.max_open };
        // One is always admitted, regardless of its size.
        if open > 0 && (open >= max_open || bytes > limits.max_open_bytes) {
            return false;
        }
        self.unknown += 1;
        true
    }
}

impl Slot {
    /// Waits until a request for this artwork may run.
    pub(super) async fn permit(&self) -> Permit {
        self.window.permit().await
    }

    /// Returns whether more artworks are open than the window admits by now, as after the first ones if these are
    /// large.
    pub(super) fn is_surplus(&self) -> bool {
        self.window.state().unread_bytes > self.window.0.max_open_bytes
    }

    /// Records the size.
    pub(super) fn set_size(&mut self, size: u64) {
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

    /// Opens as many artworks as the window admits, each of this size.
    fn fill(window: &Window, size: Option<u64>) -> Vec<Slot> {
        let mut slots = Vec::new();
        while let Some(mut slot) = window.enter().now_or_never() {
            if let Some(size) = size {
                slot.set_size(size);
            }
            slots.push(slot);
        }
        slots
    }

    #[test]
    fn small_files_are_open_up_to_the_cap() {
        assert_eq!(fill(&window(), None).len(), 128, "while no size is known");
        assert_eq!(fill(&window(), Some(10_000)).len(), 224);
    }

    #[test]
    fn a_small_function_opens_fewer() {
        let window = || Window::new(&Memory::plan(128 * MIB, 64 * MIB));
        assert_eq!(fill(&window(), None).len(), 32);
        assert_eq!(fill(&window(), Some(10_000)).len(), 56);
        assert_eq!(fill(&Window::new(&Memory::plan(10_240 * MIB, 64 * MIB)), None).len(), 128);
    }

    #[test]
    fn large_files_are_open_up_to_the_byte_limit() {
        let window = window();
        let open = fill(&window, Some(5_000_000));
        assert_eq!(open.len(), 9);
        // Later artworks are expected to have the same size.
        drop(open);
        assert_eq!(fill(&window, None).len(), 9);
    }

    #[test]
    fn those_beyond_the_byte_limit_are_surplus() {
        let window = window();
        let mut open = fill(&window, None);
        for slot in &mut open {
            slot.set_size(5_000_000);
        }
        while open.last().is_some_and(Slot::is_surplus) {
            open.pop();
        }
        // 44 MiB.
        assert_eq!(open.len(), 9);
    }

    #[test]
    fn one_is_admitted_regardless_of_its_size() {
        let window = window();
        let mut first = window.enter().now_or_never().unwrap();
        first.set_size(u64::MAX / 4);
        assert!(window.enter().now_or_never().is_none());
        drop(first);
        assert_eq!(fill(&window, Some(u64::MAX / 4)).len(), 1);
    }

    #[test]
    fn a_freed_slot_wakes_a_waiter() {
        let window = window();
        let mut slots = fill(&window, None);
        let mut waiting = Box::pin(window.enter());
        assert!(waiting.as_mut().now_or_never().is_none());
        slots.pop();
        assert!(waiting.now_or_never().is_some());
    }
}
