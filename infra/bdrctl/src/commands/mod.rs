//! The commands, a file each.

mod cleanup;
mod completions;
mod erase;
mod link;
mod log;
mod notify;
mod redrive;
mod retry;
mod status;
mod submit;
pub(crate) mod watch;

use std::process::ExitCode;

use anyhow::Result;

use crate::arguments::{Arguments, Command};
use crate::config;
use crate::doctor;
use crate::error_kind::ErrorKind;
use crate::operator::Operator;
use crate::output::{OutputError, Printer};
use crate::stack_outputs::StackOutputs;

/// Runs the command. Exits with the status of the error, with 1 when `watch` ends at a failed request, or
/// `redrive` or `doctor` reports an error, and with 141, as after SIGPIPE, when the output is closed.
pub async fn run(arguments: Arguments) -> ExitCode {
    let printer = Printer::new(arguments.json);
    match dispatch(arguments, printer).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ErrorKind::Failed.into(),
        Err(error) if error.downcast_ref::<OutputError>().is_some_and(OutputError::is_closed) => {
            ExitCode::from(141)
        }
        Err(error) => {
            printer.error(&error);
            ErrorKind::of(&error).into()
        }
    }
}

/// Prints the result of a command line that runs no command: help, the version, or an error (as JSON if
/// `json`).
#[must_use]
pub fn usage(error: &clap::Error, json: bool) -> ExitCode {
    Printer::new(json).usage(error);
    if error.use_stderr() { ErrorKind::Usage.into() } else { ExitCode::SUCCESS }
}

async fn dispatch(arguments: Arguments, printer: Printer) -> Result<bool> {
    if let Command::Completions { shell } = arguments.command {
        completions::run(shell)?;
        return Ok(true);
    }
    let mut connection = config::connection().await?;
    connection.database_url = arguments.stack.database_url.clone().or(connection.database_url);
    let outputs = StackOutputs::new(&connection.aws, arguments.stack);
    let operator = Operator::new(connection, outputs);
    match arguments.command {
        Command::Submit(arguments) => Box::pin(submit::run(&operator, arguments, printer)).await,
        Command::Status(arguments) => Box::pin(status::run(&operator, arguments, printer)).await,
        Command::Watch(arguments) => Box::pin(watch::run(&operator, &arguments, printer)).await,
        Command::Link { bdr_id } => Box::pin(link::run(&operator, bdr_id, printer)).await,
        Command::Log(arguments) => Box::pin(log::run(&operator, &arguments, printer)).await,
        Command::Notify { bdr_id } => Box::pin(notify::run(&operator, bdr_id, printer)).await,
        Command::Retry { bdr_id } => Box::pin(retry::run(&operator, bdr_id, printer)).await,
        Command::Redrive(arguments) => Box::pin(redrive::run(&operator, &arguments, printer)).await,
        Command::Erase(arguments) => Box::pin(erase::run(&operator, &arguments, printer)).await,
        Command::Cleanup(arguments) => Box::pin(cleanup::run(&operator, &arguments, printer)).await,
        Command::Completions { .. } => Ok(true),
        Command::Doctor(arguments) => Box::pin(doctor::run(&operator, &arguments, printer)).await,
    }
}
