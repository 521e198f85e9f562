//! The commands, a file each.

mod erase;
mod link;
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
use crate::operator::Operator;
use crate::output::{self, OutputError, Printer};
use crate::stack_outputs::StackOutputs;

/// Runs the command. Exits with 1 on an error, when `watch` ends at a failed request, and when
/// `redrive` or `doctor` reports an error; and with 141, as after SIGPIPE, when the output is closed.
pub async fn run(arguments: Arguments) -> ExitCode {
    match dispatch(arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.downcast_ref::<OutputError>().is_some_and(OutputError::is_closed) => {
            ExitCode::from(141)
        }
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(arguments: Arguments) -> Result<bool> {
    let mut connection = config::connection().await?;
    connection.database_url = arguments.stack.database_url.clone().or(connection.database_url);
    let outputs = StackOutputs::new(&connection.aws, arguments.stack);
    let operator = Operator::new(connection, outputs);
    let printer = Printer::new(arguments.json);
    match arguments.command {
        Command::Submit(arguments) => Box::pin(submit::run(&operator, arguments, printer)).await,
        Command::Status(arguments) => Box::pin(status::run(&operator, arguments, printer)).await,
        Command::Watch(arguments) => Box::pin(watch::run(&operator, &arguments, printer)).await,
        Command::Link { bdr_id } => Box::pin(link::run(&operator, bdr_id, printer)).await,
        Command::Retry { bdr_id } => Box::pin(retry::run(&operator, bdr_id, printer)).await,
        Command::Redrive(arguments) => Box::pin(redrive::run(&operator, &arguments, printer)).await,
        Command::Erase(arguments) => Box::pin(erase::run(&operator, &arguments, printer)).await,
        Command::Doctor => Box::pin(doctor::run(&operator, printer)).await,
    }
}
