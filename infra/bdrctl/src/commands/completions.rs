//! `completions`: a script for a shell.

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use crate::arguments::Arguments;
use crate::output::Printer;

/// Prints the script.
pub(crate) fn run(shell: Shell, printer: Printer) {
    let mut script = Vec::new();
    generate(shell, &mut Arguments::command(), "bdrctl", &mut script);
    printer.text(&String::from_utf8_lossy(&script));
}
