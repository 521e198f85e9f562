//! Scenarios of `process-bdr-job`.

mod archives_open_everywhere;
mod bad_input;
mod calls;
mod canary_ports;
mod claims;
mod copied_artworks;
mod due_email;
pub(crate) mod email;
mod export_scale;
mod failure_email;
mod gallery;
mod hostile_hosts;
mod hostile_names;
mod large_artworks;
pub(crate) mod large_exports;
mod lease;
mod life_of_a_request;
mod limits;
mod momentary_trouble;
mod odd_rows;
mod remote_artworks;
mod remote_formats;
pub(crate) mod retries;
mod strict_s3;
mod traces;
mod volume;
mod write_once;
