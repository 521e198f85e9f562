//! Child processes that cannot outlive this process.
//!
//! Every long-running command is started by `supervisor.py`, whose standard input is a pipe of which
//! this process holds the other end. When this process ends in any way, even by `kill -9` or by
//! returning from a test with the stack in a static, the kernel closes that end. The supervisor then
//! stops the command with everything the command has started, and removes its directory. Rust opens
//! pipes close-on-exec, so no other child holds that end by accident. If the supervisor itself is
//! killed, the kernel signals the command (Linux), and the next start removes its directory (see
//! [`crate::directory`]).

use std::{
    ffi::OsStr,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use crate::{prerequisites, workspace::Workspace};

/// What starts commands under `supervisor.py`.
#[derive(Debug, Clone)]
pub(crate) struct Supervisor {
    pub(crate) workspace: Workspace,
    /// The Python that supervisors run on.
    pub(crate) python: PathBuf,
}

impl Supervisor {
    /// Finds the workspace and a Python.
    pub(crate) fn find() -> Result<Self> {
        Ok(Self { workspace: Workspace::find()?, python: prerequisites::python()? })
    }

    /// Returns a command for [`output`] that runs `program`, without arguments and environment.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.command_with(&[], program)
    }

    /// Returns a command that runs `program`, with options for `supervisor.py`.
    pub(crate) fn command_with(&self, options: &[String], program: impl AsRef<OsStr>) -> Command {
        let script = self.workspace.own_file("supervisor.py");
        let mut command = Command::new(&self.python);
        command.arg("-I").arg(script).args(options).arg("--").arg(program);
        command
    }
}

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs what [`Supervisor::command`] has returned to its end, and calls `on_line` with each line of
/// standard error. When the future is dropped, the command is stopped.
pub(crate) async fn output(command: Command, mut on_line: impl FnMut(&str)) -> Result<Output> {
    let mut child = tokio::process::Command::from(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("failed to run python3")?;
    // Open until the command has ended: closing it stops the command.
    let stdin = child.stdin.take();
    let (Some(mut out), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
        bail!("failed to capture the output of a command");
    };

    let read_output = async {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).await?;
        anyhow::Ok(bytes)
    };
    let read_errors = async {
        let (mut lines, mut line, mut text) = (BufReader::new(errors), Vec::new(), String::new());
        while lines.read_until(b'\n', &mut line).await? > 0 {
            let part = String::from_utf8_lossy(&line);
            on_line(part.trim_end());
            text.push_str(&part);
            line.clear();
        }
        anyhow::Ok(text)
    };
    let (stdout, stderr) = tokio::try_join!(read_output, read_errors)?;
    let status = child.wait().await?;
    drop(stdin);
    Ok(Output { status, stdout: String::from_utf8_lossy(&stdout).into_owned(), stderr })
}

/// Runs a command that must succeed, and returns its standard output. `what` names the command in
/// the error.
pub(crate) async fn succeed(what: &str, command: Command) -> Result<String> {
    let Output { status, stdout, stderr } = output(command, |_| ()).await?;
    ensure!(status.success(), "{what} failed ({status}):\n{stdout}{stderr}");
    Ok(stdout)
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use super::*;
    use crate::wait_until;

    fn shell(script: &str) -> Command {
        let supervisor = Supervisor::find().unwrap();
        let mut command = supervisor.command("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_command_returns_its_output_and_its_status() {
        let mut lines = Vec::new();
        let command = shell("echo out; echo err >&2; exit 7");
        let output = output(command, |line| lines.push(line.to_owned())).await.unwrap();
        assert_eq!(output.status.code(), Some(7));
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(lines, ["err"]);
    }

    #[tokio::test]
    async fn dropping_the_future_ends_the_command() {
        let mut pid = None;
        let command = shell("echo $$ >&2; exec sleep 600");
        let running = output(command, |line| pid = Some(line.to_owned()));
        assert!(tokio::time::timeout(Duration::from_secs(2), running).await.is_err());
        let process = Path::new("/proc").join(pid.unwrap());
        let end = async || Ok((!process.exists()).then_some(()));
        wait_until("the end of the command", Duration::from_secs(10), end).await.unwrap();
    }
}
