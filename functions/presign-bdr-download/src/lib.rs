//! `presign-bdr-download`: returns a short-lived presigned URL of an artist's ZIP to the API.
//!
//! The API invokes it directly with `{"bdr_id": "<uuid>", "user_id": 42}` ([`handler`]). It checks
//! in the database that the request belongs to this artist and is `ready` and not expired
//! ([`answer`]). Signing needs no request. E-mails do not contain such a URL, because it expires
//! with the session of the function's role: the API requests a new one at every click.

pub mod answer;
pub mod config;
pub mod handler;
pub mod wiring;
