//! The forecast whether an attempt can end.

use std::time::Duration;

use process_bdr_job::archive::forecast::{Work, exceeds_attempt, moved};

/// An attempt at artworks of the same size, each of which takes this time.
#[derive(Debug, Clone, Copy)]
pub struct Steady {
    /// Artworks.
    pub artworks: u64,
    /// Time of each, in milliseconds.
    pub each_ms: u64,
    /// Time of an attempt, in milliseconds.
    pub attempt_ms: u64,
}

impl Steady {
    /// Returns the share of the attempt after which it is known that no attempt can end, from 0 to 1; `None`
    /// if the attempt ends, or is ended by its time, before. Before the artwork `stalled` there is a wait of
    /// `stall_ms`.
    #[must_use]
    pub fn known_after(self, stalled: u64, stall_ms: u64) -> Option<f64> {
        let Self { artworks, each_ms, attempt_ms } = self;
        let (mut clock, mut moving) = (0, Duration::ZERO);
        let total = Duration::from_millis(attempt_ms);
        for done in 1..=artworks {
            let time = each_ms + if done == stalled { stall_ms } else { 0 };
            clock += time;
            if clock >= attempt_ms {
                return None;
            }
            moving += moved(Duration::from_millis(time), each_ms * 1024);
            let work = |artworks| Work { artworks, pixels: artworks * 64 };
            if exceeds_attempt(total, moving, work(done), work(artworks - done)) {
                return Some(Duration::from_millis(clock).as_secs_f64() / total.as_secs_f64());
            }
        }
        None
    }
}
