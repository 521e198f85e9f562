//! What the documentation says and shows.

mod api_client;
mod deploy_guide;
mod migration;
mod readme;
mod runbook;
mod schemas;
