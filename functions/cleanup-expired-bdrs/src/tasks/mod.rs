//! The parts of a run. Each goes by pages until there is no more, or until its time is over.

pub mod expire;
pub mod orphans;
pub mod purge;
pub mod republish;
pub mod rescue;

use tokio::time::Instant;

use crate::report::Report;

/// Whether there is time for another page; if not, the report says that more is left.
fn goes_on(stop_at: Instant, report: &mut Report) -> bool {
    let goes_on = Instant::now() < stop_at;
    report.more |= !goes_on;
    goes_on
}
