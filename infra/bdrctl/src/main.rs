//! The binary.

use std::process::ExitCode;

use bdrctl::arguments::Arguments;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    match Arguments::read(words.clone()) {
        Ok(arguments) => bdrctl::run(arguments).await,
        Err(error) => bdrctl::usage(&error, words.contains(&"--json".into())),
    }
}
