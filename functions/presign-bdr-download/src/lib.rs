//! `presign-bdr-download`: hands the API a short-lived presigned URL of an artist's ZIP.
//!
//! Invoked directly with `{"bdr_id": "<uuid>", "user_id": 42}` ([`handler`]). It asks the database
//! only ([`answer`]): whether the request is this artist's, `ready`, and not expired; signing needs
//! no call. E-mails never hold such a URL, because it dies with the session of the function's role:
//! the API asks for a new one at every click.

pub mod answer;
pub mod config;
pub mod handler;
pub mod wiring;
