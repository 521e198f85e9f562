//! `process-bdr-job`: an SQS message becomes a ZIP in the vault, a `ready` row and an e-mail.
//!
//! The job, in the order of its specification ([`job`]):
//!
//! 1. claim the row (`pending` or `processing` → `processing`, with a fencing token);
//! 2. load the artist, the posts, comments and reactions, all queries at once ([`gather`]);
//! 3. plan every artwork's source and its name in the ZIP ([`artwork`]);
//! 4. fetch the artworks from the vault or from remote URLs, many at a time, in order;
//! 5. write them (`store`) as a ZIP ([`archive`]), with `metadata.json` and what else was asked for
//!    ([`documents`]), straight into a multipart upload (`shared::vault`);
//! 6. mark the row `ready`, for seven days;
//! 7. tell the artist ([`notify`], [`email`]).
//!
//! What goes wrong carries its decision, retry or fail (`shared::failure`), and is settled in one
//! place (`settle`): the row is released, or failed and the artist told, and [`handler`] tells SQS
//! what becomes of the message. What an attempt was like is told once, when it ends ([`event`]).

pub mod archive;
pub mod artist;
pub mod artwork;
pub mod attempt;
pub mod config;
pub mod documents;
pub mod email;
pub mod event;
pub mod gather;
pub mod handler;
pub mod job;
pub mod lease;
pub mod memory;
pub mod notify;
pub mod phases;
pub mod remote;
mod settle;
mod store;
pub mod wiring;
