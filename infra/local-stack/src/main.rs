//! `cargo demo` and `cargo local`.

mod console;
mod demo;
mod serve;

use std::{env, ffi::OsString, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use console::Console;

/// The batch downloads of Makapix on this machine, without AWS and without Docker.
#[derive(Debug, Parser)]
#[command(name = "local-stack")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Takes one request through the system and checks everything that comes out (`cargo demo`).
    Demo(demo::Arguments),
    /// Keeps the stack up, for developing against it, until Ctrl-C (`cargo local`).
    Serve(serve::Arguments),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse_from(without_separator(env::args_os()));
    let console = Console::new();
    let result = match arguments.command {
        Command::Demo(arguments) => demo_until_interrupted(&arguments, &console).await,
        Command::Serve(arguments) => serve::serve(arguments, &console, interrupted()).await,
    };
    result.unwrap_or_else(|error| {
        console.error(&error);
        ExitCode::FAILURE
    })
}

/// `cargo demo -- --expire` is as good as `cargo demo --expire`. The aliases have the `--` that cargo
/// wants, so a further one comes to us; none of our arguments needs it.
fn without_separator(arguments: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    arguments.filter(|argument| argument != "--")
}

async fn demo_until_interrupted(
    arguments: &demo::Arguments,
    console: &Console,
) -> Result<ExitCode> {
    tokio::select! {
        result = demo::demo(arguments, console) => result,
        // Dropping the demo ends its stack.
        () = interrupted() => Ok(ExitCode::from(130)),
    }
}

/// Returns when the user or the system wants us to end.
async fn interrupted() {
    let wait = async |kind| match signal(kind) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::hangup()) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_lets_the_archive_expire_on_request_however_it_is_asked() {
        let expire = |line: &str| {
            let words = line.split(' ').map(OsString::from);
            match Arguments::try_parse_from(without_separator(words)).unwrap().command {
                Command::Demo(arguments) => arguments.expire,
                Command::Serve(_) => false,
            }
        };
        assert!(!expire("local-stack demo"));
        assert!(expire("local-stack demo --expire"));
        assert!(expire("local-stack demo -- --expire"));
    }
}
