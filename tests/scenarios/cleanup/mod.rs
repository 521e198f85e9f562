//! Scenarios of `cleanup-expired-bdrs`.

mod runs;
