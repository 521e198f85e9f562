//! Scenarios of `cleanup-expired-bdrs`.

mod erase;
mod runs;
