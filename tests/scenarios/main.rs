//! Scenarios, a file a subject.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "this is test code: a panic is how it says what is wrong"
)]

mod archives_open_everywhere;
mod bad_input;
mod bdrctl;
mod calls;
mod claims;
mod cleanup;
mod client;
mod database_role;
mod database_tls;
mod deploy_guide;
mod deployed_stack;
mod download;
mod email;
mod failure_email;
mod faults;
mod hostile_hosts;
mod hostile_names;
mod indexes;
mod lease;
mod life_of_a_request;
mod migration;
mod observability;
mod permissions;
mod readme;
mod release;
mod remote_artworks;
mod remote_formats;
mod retries;
mod rotation;
mod runbook;
mod schemas;
mod secrets;
mod stack_life;
mod state_machine;
mod template_rules;
mod write_once;
