//! The binary.

use std::process::ExitCode;

use bdrctl::arguments::Arguments;
use clap::Parser;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    bdrctl::run(Arguments::parse()).await
}
