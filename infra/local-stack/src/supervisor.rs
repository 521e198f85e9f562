//! Child processes that cannot outlive us.
//!
//! Every long-running command is started by `supervisor.py`, whose standard input is a pipe of which
//! we hold the other end. When we end, in whatever way, even by `kill -9` or by returning from a
//! test with the stack in a static, the kernel closes our end; the supervisor then takes the command
//! down with all it has started, and removes its directory. Rust opens pipes close-on-exec, so no
//! other child of ours holds that end by accident. Should the supervisor itself be killed, the kernel
//! signals the command (Linux), and its directory is swept by the next start (see
//! [`crate::directory`]).

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _, Seek as _},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    task::spawn_blocking,
};

use crate::{directory::Directory, prerequisites, workspace::Workspace};

/// Longer than any supervisor needs: it waits for its command, and then kills.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// Starts commands under a supervisor.
#[derive(Debug, Clone)]
pub(crate) struct Supervisor {
    python: PathBuf,
    script: PathBuf,
}

impl Supervisor {
    pub(crate) fn new(workspace: &Workspace) -> Result<Self> {
        Ok(Self { python: prerequisites::python()?, script: workspace.own_file("supervisor.py") })
    }

    /// The Python that supervisors run on.
    pub(crate) fn python(&self) -> &PathBuf {
        &self.python
    }

    /// A command line for [`output`] that runs `program`; arguments and environment are still to be
    /// added.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.command_with(&[], program)
    }

    fn command_with(&self, options: &[String], program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(&self.python);
        command.arg("-I").arg(&self.script).args(options).arg("--").arg(program);
        command
    }

    /// A command line for [`Server::start`] that runs `program` in `directory`.
    pub(crate) fn server(
        &self,
        directory: &Directory,
        ending: &Ending,
        program: impl AsRef<OsStr>,
    ) -> Command {
        let mut options = vec![
            format!("--stop-signal={}", ending.stop_signal),
            format!("--stop-seconds={}", ending.patience.as_secs()),
            format!("--orphan-signal={}", ending.orphan_signal),
        ];
        options.extend(ending.uid.map(|uid| format!("--uid={uid}")));
        options.extend(directory.paths().map(|path| format!("--remove={}", path.display())));
        self.command_with(&options, program)
    }
}

/// How a server is run and ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Asks it to end.
    pub(crate) stop_signal: &'static str,
    /// How long it may take before it is killed.
    pub(crate) patience: Duration,
    /// What the kernel sends it when its supervisor was killed.
    pub(crate) orphan_signal: &'static str,
    /// The user to run it as, when not ours.
    pub(crate) uid: Option<u32>,
}

/// A command that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    supervisor: Child,
    log: File,
}

impl Server {
    /// Starts what [`Supervisor::server`] has made, with `log` as its output.
    pub(crate) fn start(
        name: &'static str,
        mut command: Command,
        directory: &Directory,
        log: File,
    ) -> Result<Self> {
        let start = || {
            let (reader, errors) = (directory.open_log()?, log.try_clone()?);
            let supervisor = command.stdin(Stdio::piped()).stdout(log).stderr(errors).spawn()?;
            io::Result::Ok(Self { name, supervisor, log: reader })
        };
        start().with_context(|| format!("{name} cannot be started"))
    }

    /// Fails when the server has ended by itself.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        match self.supervisor.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => bail!("{} has stopped by itself", self.name),
        }
    }

    /// Adds to an error what the server itself says of it.
    pub(crate) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        error.context(format!("{} does not run. It says:\n{}", self.name, self.log_tail()))
    }

    /// The last lines it has written.
    pub(crate) fn log_tail(&self) -> String {
        const LINES: usize = 15;
        let (mut log, mut bytes) = (&self.log, Vec::new());
        if log.rewind().and_then(|()| log.read_to_end(&mut bytes)).is_err() {
            return "(its log cannot be read)".to_owned();
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// Ends the server, and returns when nothing is left of it.
    pub(crate) async fn stop(mut self) -> Result<()> {
        spawn_blocking(move || self.end().map(|_| ())).await.context("the stopping was stopped")?
    }

    fn end(&mut self) -> Result<ExitStatus> {
        drop(self.supervisor.stdin.take());
        let deadline = Instant::now() + STOP_PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.supervisor.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("{} has not stopped within {} s", self.name, STOP_PATIENCE.as_secs())
    }
}

impl Drop for Server {
    /// Waits, so that a prompt that has come back means that nothing is left running.
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs what [`Supervisor::command`] has made to its end, and calls `on_line` with each line it writes
/// to standard error. When the future is dropped, the command is taken down.
pub(crate) async fn output(command: Command, mut on_line: impl FnMut(&str)) -> Result<Output> {
    let mut child = tokio::process::Command::from(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("python3 cannot be run")?;
    // Kept open until the command has ended: closing it is what stops the command.
    let stdin = child.stdin.take();
    let (Some(mut out), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
        bail!("the output of a command cannot be read");
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

/// Runs a command that has to succeed, and returns its standard output; `what` names it in the
/// error.
pub(crate) async fn succeed(what: &str, command: Command) -> Result<String> {
    let output = output(command, |_| ()).await?;
    ensure!(
        output.status.success(),
        "{what} failed ({}):\n{}{}",
        output.status,
        output.stdout,
        output.stderr
    );
    Ok(output.stdout)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use crate::wait_until;

    /// Ignores the request to end, and has a descendant that has left its process group.
    const STUBBORN: &str =
        "trap '' TERM; setsid sh -c 'echo escaped $$; exec sleep 600' & echo command $$; wait";
    const PATIENCE: Duration = Duration::from_secs(10);

    fn supervisor() -> Supervisor {
        Supervisor::new(&Workspace::find().unwrap()).unwrap()
    }

    fn stubborn_server(parent: &std::path::Path) -> (Server, PathBuf) {
        let (directory, log) = Directory::create(parent, "stubborn").unwrap();
        let ending = Ending {
            stop_signal: "SIGTERM",
            patience: Duration::from_secs(1),
            orphan_signal: "SIGKILL",
            uid: None,
        };
        let mut command = supervisor().server(&directory, &ending, "/bin/sh");
        command.args(["-c", STUBBORN]);
        let server = Server::start("the stubborn one", command, &directory, log).unwrap();
        (server, directory.path().to_owned())
    }

    /// The command and its descendant, which write their numbers into the log.
    async fn processes(server: &Server) -> [u32; 2] {
        wait_until("the start of both processes", PATIENCE, async || {
            let log = server.log_tail();
            let pid = |name| log.lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
            Ok(pid("command ").zip(pid("escaped ")).map(|(command, escaped)| [command, escaped]))
        })
        .await
        .unwrap()
    }

    fn alive(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // A zombie is only waiting for somebody to ask how it ended.
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_server_that_was_stopped() {
        let parent = tempfile::tempdir().unwrap();
        let (mut server, directory) = stubborn_server(parent.path());
        let pids = processes(&server).await;
        assert!(pids.iter().copied().all(alive));
        server.check_alive().unwrap();

        server.stop().await.unwrap();
        assert!(!pids.iter().copied().any(alive));
        assert!(!directory.exists());
    }

    #[tokio::test]
    async fn the_command_dies_with_a_keeper_that_was_killed() {
        let parent = tempfile::tempdir().unwrap();
        let (mut server, _) = stubborn_server(parent.path());
        let [command, escaped] = processes(&server).await;

        server.supervisor.kill().unwrap();
        wait_until(
            "the end of the command",
            PATIENCE,
            async || Ok((!alive(command)).then_some(())),
        )
        .await
        .unwrap();
        wait_until("the news of it", PATIENCE, async || Ok(server.check_alive().err()))
            .await
            .unwrap();
        // This one has nobody left who would end it: the limit of what is promised.
        let _ = Command::new("kill").args(["-9", &escaped.to_string()]).status();
    }

    #[tokio::test]
    async fn a_command_gives_its_output_and_its_status() {
        let mut command = supervisor().command("/bin/sh");
        command.args(["-c", "echo out; echo err >&2; exit 7"]);
        let mut lines = Vec::new();
        let output = output(command, |line| lines.push(line.to_owned())).await.unwrap();
        assert_eq!(output.status.code(), Some(7));
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(lines, ["err"]);
    }

    #[tokio::test]
    async fn a_command_that_is_no_longer_wanted_is_ended() {
        let mut command = supervisor().command("/bin/sh");
        command.args(["-c", "echo $$ >&2; exec sleep 600"]);
        let mut pid = None;
        let running = output(command, |line| pid = line.parse().ok());
        assert!(tokio::time::timeout(Duration::from_secs(2), running).await.is_err());
        let pid: u32 = pid.unwrap();
        wait_until("the end of the command", PATIENCE, async || Ok((!alive(pid)).then_some(())))
            .await
            .unwrap();
    }
}
