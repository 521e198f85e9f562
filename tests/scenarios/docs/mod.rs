//! The documentation: what it shows is run, and what it states is compared with the code.

mod api_client;
mod commands;
mod configuration;
mod deploy_guide;
mod links;
mod migration;
mod modules;
mod operations;
mod pages;
mod runbook;
mod scale;
mod schemas;
