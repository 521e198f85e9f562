//! What `process-bdr-job` does with a request.

mod archives_open_everywhere;
mod bad_input;
mod calls;
mod canary_ports;
mod claims;
pub(crate) mod email;
mod failure_email;
mod hostile_hosts;
mod hostile_names;
mod lease;
mod life_of_a_request;
mod remote_artworks;
mod remote_formats;
mod retries;
mod strict_s3;
mod write_once;
