//! The tasks of a run. Each works page by page until no row or object is left or its time ends.

pub mod expire;
pub mod orphans;
pub mod purge;
pub mod republish;
pub mod rescue;

use tokio::time::Instant;

use crate::summary::Summary;

/// Returns whether there is time for another page; if not, records in the summary that work is
/// left.
fn has_time_left(stop_at: Instant, summary: &mut Summary) -> bool {
    let has_time_left = Instant::now() < stop_at;
    summary.more |= !has_time_left;
    has_time_left
}
