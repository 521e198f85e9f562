//! The commands of a document, run by a shell.

use std::process::Stdio;

use tokio::process::Command;

use crate::scenario::Scenario;

/// Shell functions that send AWS commands to the local stack; older command lines do not read the
/// endpoint from the environment. The command line only checks the options of commands that the
/// stand-in does not support. `sleep` returns at once.
pub const ON_THE_LOCAL_STACK: &str = r#"
    aws() {
      case "$1 $2" in
        'sqs start-message-move-task') command aws "$@" --generate-cli-skeleton output ;;
        *) command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@" ;;
      esac
    }
    sleep() { :; }"#;

/// Shell functions with which the command line checks the options of AWS commands and sends nothing. Of
/// some commands it rejects the response that it generates itself, which says nothing about the command.
/// A command with a streaming response has no generated one; it goes to the stand-in, which has no such
/// function.
pub const CHECKED: &str = r#"
    aws() {
      local answer
      if [ "$1 $2" = 'lambda invoke' ]; then
        answer=$(command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@" 2>&1) && return
        case $answer in *ResourceNotFoundException*) return 0 ;; esac
      fi
      answer=$(command aws "$@" --generate-cli-skeleton output 2>&1) && return
      case $answer in
        'Parameter validation failed'*|$'\nParameter validation failed'*) ;;
        *) printf '%s\n' "$answer" >&2; return 1 ;;
      esac
    }
    output() { echo "the stack's $1"; }
    mapping=00000000-0000-0000-0000-000000000000"#;

/// Returns the code blocks of a language under a heading of a document, in order.
#[must_use]
pub fn blocks<'a>(document: &'a str, heading: &str, language: &str) -> Vec<&'a str> {
    let (_, section) = document.split_once(&format!("\n{heading}\n")).expect("such a heading");
    let section = section.split("\n#").next().unwrap();
    let fence = format!("```{language}\n");
    let block = |rest: &'a str| rest.split_once("```").expect("the end of the block").0;
    let blocks: Vec<_> = section.split(&fence).skip(1).map(block).collect();
    assert!(!blocks.is_empty(), "{heading} has no {language}");
    blocks
}

/// Runs a script as an operator does, with the scenario's database; returns its output.
pub async fn run(s: &Scenario, script: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let commands = [s.stack.aws_command(), s.stack.psql_command()];
    let folders = commands.iter().map(|command| command.parent().unwrap().to_owned());
    let path = std::env::join_paths(folders.chain(["/usr/bin", "/bin"].map(Into::into))).unwrap();
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", script]).env_clear().env("PATH", path);
    shell.env("DATABASE_URL", s.admin_database_url()).current_dir(folder.path());
    output(s, &mut shell).await.unwrap_or_else(|errors| panic!("{script}\n{errors}"))
}

/// Runs Python with the stack's environment; returns its output.
///
/// # Errors
/// When it fails; the error is what it writes to standard error.
pub async fn python(s: &Scenario, script: &str) -> Result<String, String> {
    let printed = output(s, Command::new(s.stack.python()).args(["-c", script])).await?;
    Ok(printed.trim().to_owned())
}

async fn output(s: &Scenario, command: &mut Command) -> Result<String, String> {
    let output = command.envs(s.stack.environment()).stdin(Stdio::null()).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}
