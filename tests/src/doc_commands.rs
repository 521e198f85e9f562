//! Commands as a document prints them, run by a shell.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;

use crate::scenario::Scenario;

/// The commands reach the local stack; the older command line reads no endpoint from the environment.
/// What the stand-in does not know is checked by the command line and not sent. Nobody waits.
pub const ON_THE_LOCAL_STACK: &str = r#"
    aws() {
      case "$1 $2" in
        'sqs start-message-move-task') command aws "$@" --generate-cli-skeleton output ;;
        *) command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@" ;;
      esac
    }
    sleep() { :; }"#;

/// The command line checks every command's options, and sends nothing. (Of some it finds its own
/// invented answer at fault; that is not the command's.) What streams its answer has no skeleton, and goes
/// to the stand-in, which knows no such function.
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

/// The blocks of this language under a heading of a document, in order.
#[must_use]
pub fn blocks<'a>(document: &'a str, heading: &str, language: &str) -> Vec<&'a str> {
    let (_, section) = document.split_once(&format!("\n{heading}\n")).expect("such a heading");
    let section = section.split("\n#").next().unwrap();
    let blocks: Vec<_> = section
        .split(&format!("```{language}\n"))
        .skip(1)
        .map(|block| block.split_once("```").expect("the end of the block").0)
        .collect();
    assert!(!blocks.is_empty(), "{heading} has no {language}");
    blocks
}

/// Runs a script as an operator would, with the scenario's database; returns what it prints.
pub async fn run(s: &Scenario, script: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let commands = [s.stack.aws_command(), s.stack.psql_command()];
    let folders = commands.iter().map(|command| command.parent().unwrap().to_owned());
    let usual = ["/usr/bin", "/bin"].map(Into::into);
    let path = std::env::join_paths(folders.chain(usual)).unwrap();
    let mut shell = tokio::process::Command::new("bash")
        .args(["-euo", "pipefail"])
        .env_clear()
        .envs(s.stack.environment())
        .env("PATH", path)
        .env("DATABASE_URL", s.admin_database_url())
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(script.as_bytes()).await.unwrap();
    let output = shell.wait_with_output().await.unwrap();
    let (out, err) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{script}\n{err}");
    String::from_utf8(out).unwrap()
}

/// Runs Python with the stack's environment; returns what it prints, or what it says when it fails.
///
/// # Errors
/// When it fails.
pub async fn python(s: &Scenario, script: &str) -> Result<String, String> {
    let output = tokio::process::Command::new(s.stack.python())
        .args(["-c", script])
        .envs(s.stack.environment())
        .output()
        .await
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().trim().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}
