//! A file a command.

mod link;
mod redrive;
mod retry;
mod status;
mod submit;
pub(crate) mod watch;

use std::process::ExitCode;

use anyhow::Result;

use crate::arguments::{Arguments, Command};
use crate::config::Config;
use crate::doctor;
use crate::operator::{Connection, Operator};
use crate::output::{self, Output};
use crate::place::Place;

/// Does what the command line says. Fails when it could not be done, or was not as it should be.
pub async fn run(arguments: Arguments) -> ExitCode {
    match dispatch(arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(arguments: Arguments) -> Result<bool> {
    let mut reached = Connection::from(Config::from_environment().await?);
    reached.database_url = arguments.place.database_url.clone().or(reached.database_url);
    let place = Place::new(&reached.aws, arguments.place);
    let operator = Operator::new(reached, place);
    let output = Output::new(arguments.json);
    match arguments.command {
        Command::Submit(arguments) => Box::pin(submit::run(&operator, arguments, output)).await,
        Command::Status(arguments) => Box::pin(status::run(&operator, arguments, output)).await,
        Command::Watch(arguments) => Box::pin(watch::run(&operator, &arguments, output)).await,
        Command::Link { bdr_id } => Box::pin(link::run(&operator, bdr_id, output)).await,
        Command::Retry { bdr_id } => Box::pin(retry::run(&operator, bdr_id, output)).await,
        Command::Redrive(arguments) => Box::pin(redrive::run(&operator, &arguments, output)).await,
        Command::Doctor => Box::pin(doctor::run(&operator, output)).await,
    }
}
