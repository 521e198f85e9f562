//! What `cleanup-expired-bdrs` does.

mod runs;
