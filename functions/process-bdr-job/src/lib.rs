//! `process-bdr-job`: an SQS message becomes an archive in the vault, a `ready` row and an e-mail.
//!
//! One attempt at a request ([`job`]):
//!
//! 1. *claim* the row (`pending` or `processing` → `processing`, with a fencing token);
//! 2. *load* artist, posts and reactions, all queries at once ([`load`]);
//! 3. *archive*: plan each artwork's source and file name ([`artwork`]), fetch many at a time from the
//!    vault and the web ([`remote`]), and stream them, with the JSON documents, as a ZIP into the vault
//!    ([`archive`], `shared::vault`);
//! 4. *ready*: mark the row `ready` and set `expires_at` (default: seven days);
//! 5. *notify* the artist ([`email`]).
//!
//! The attempt ends in one value ([`outcome::AttemptOutcome`]). [`handler`] derives from it what happens
//! to the message, and the report (`report`) writes the outcome line and the metrics. A failure carries
//! its decision, retry or fail (`shared::failure`), from the place where it arises.

pub mod archive;
pub mod artwork;
pub mod attempt;
pub mod config;
mod due_email;
pub mod email;
pub mod export;
pub mod handler;
pub mod job;
pub mod lease;
pub mod limits;
pub mod load;
pub mod memory;
pub mod missing;
pub mod notify;
pub mod outcome;
pub mod phases;
pub mod remote;
mod report;
mod spans;
mod text;
pub mod wiring;
pub mod wording;
