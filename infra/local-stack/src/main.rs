//! `cargo demo` and `cargo local`.

mod console;
mod demo;
mod serve;

use std::{env, ffi::OsString, io, process::ExitCode};

use anyhow::anyhow;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};

use console::Console;
use local_stack::{Options, Profile};

/// Run Makapix batch downloads on this machine, without AWS and without Docker.
// Named after the aliases in .cargo/config.toml, which people type.
#[derive(Debug, Parser)]
#[command(name = "cargo", bin_name = "cargo")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Process one request and check every result.
    Demo(demo::Arguments),
    /// Run the stack for development until Ctrl-C.
    // Lines of at most 80 characters.
    #[command(next_line_help = true)]
    Local(serve::Arguments),
}

/// Options for the functions of a stack.
#[derive(Debug, clap::Args)]
struct FunctionArguments {
    /// Build the functions as they are deployed (first time: 5 to 10 minutes)
    #[arg(long)]
    release: bool,
}

impl FunctionArguments {
    /// Announces the start of a stack, and returns its options.
    fn stack_options(&self, console: &Console) -> Options {
        let profile = if self.release { Profile::Release } else { Profile::Dev };
        console.stack_options().profile(profile)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse_from(without_separator(env::args_os()));
    let console = Console::new();
    let stopped = stopped(&console);
    let result = match arguments.command {
        Command::Demo(arguments) => tokio::select! {
            result = demo::demo(&arguments, &console) => result,
            // Dropping the demo stops its stack.
            () = stopped => Ok(ExitCode::from(130)),
        },
        Command::Local(arguments) => serve::serve(arguments, &console, stopped).await,
    };
    match (result, console.output_error()) {
        (_, Some(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(141),
        (_, Some(error)) => {
            console.error(&anyhow!("failed to write the output: {error}"));
            ExitCode::FAILURE
        }
        (Ok(code), None) => code,
        (Err(error), None) => {
            console.error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Returns a future that waits until a signal arrives or the output cannot be written, and removes
/// the spinners.
fn stopped(console: &Console) -> impl Future<Output = ()> {
    let interrupted = interrupted();
    async {
        tokio::select! {
            () = interrupted => {}
            () = console.output_failed() => {}
        }
        console.stop();
    }
}

/// Makes `cargo demo -- --expire` equal to `cargo demo --expire`: the aliases contain the `--` of cargo,
/// so a further one is an argument, which no command here uses.
fn without_separator(arguments: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    arguments.filter(|argument| argument != "--")
}

/// Returns a future that waits for SIGINT, SIGTERM or SIGHUP.
///
/// Handles these signals from the call on, not from the first poll: until then, a signal ends the
/// process at once, and its children and spinners stay.
fn interrupted() -> impl Future<Output = ()> {
    let [interrupt, terminate, hangup] =
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let wait = async |signal: io::Result<Signal>| match signal {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    };
    async move {
        tokio::select! {
            () = wait(interrupt) => {}
            () = wait(terminate) => {}
            () = wait(hangup) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expire_may_follow_a_second_separator() {
        let expire = |line: &str| {
            let words = line.split(' ').map(OsString::from);
            match Arguments::try_parse_from(without_separator(words)).unwrap().command {
                Command::Demo(arguments) => arguments.expire,
                Command::Local(_) => false,
            }
        };
        assert!(!expire("local-stack demo"));
        assert!(expire("local-stack demo --expire"));
        assert!(expire("local-stack demo -- --expire"));
    }
}
