//! `completions`: a script for a shell.

use anyhow::Result;
use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use crate::arguments::Arguments;
use crate::output::text;

/// Prints the script.
pub(crate) fn run(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    generate(shell, &mut Arguments::command(), "bdrctl", &mut script);
    text(&String::from_utf8_lossy(&script))
}
