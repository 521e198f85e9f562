//! A server that runs as long as its owner.

use std::{
    ffi::OsStr,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tokio::task::spawn_blocking;

use crate::{directory::Directory, supervisor::Supervisor, waiting::wait_until};

/// Longest wait for a supervisor, which waits for its command and then kills it.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
const START_PATIENCE: Duration = Duration::from_mins(1);

/// How a server is run and stopped.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Signal that asks it to end.
    pub(crate) stop_signal: &'static str,
    /// Time until it is killed.
    pub(crate) patience: Duration,
    /// Signal from the kernel when its supervisor was killed.
    pub(crate) orphan_signal: &'static str,
    /// User to run it as, if not the present one.
    pub(crate) uid: Option<u32>,
}

impl Ending {
    /// Returns the command that runs `program` under a supervisor, which removes `directory`
    /// afterwards.
    pub(crate) fn command(
        &self,
        supervisor: &Supervisor,
        directory: &Directory,
        program: impl AsRef<OsStr>,
    ) -> Command {
        let mut options = vec![
            format!("--stop-signal={}", self.stop_signal),
            format!("--stop-seconds={}", self.patience.as_secs()),
            format!("--orphan-signal={}", self.orphan_signal),
        ];
        options.extend(self.uid.map(|uid| format!("--uid={uid}")));
        options.extend(directory.paths().map(|path| format!("--remove={}", path.display())));
        supervisor.command_with(&options, program)
    }
}

/// A command that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    supervisor: Child,
    directory: Directory,
}

impl Server {
    /// Starts what [`Ending::command`] has returned, with its output in the directory's log.
    pub(crate) fn start(
        name: &'static str,
        mut command: Command,
        directory: Directory,
    ) -> Result<Self> {
        let mut start = || {
            let (output, errors) = (directory.output()?, directory.output()?);
            command.stdin(Stdio::piped()).stdout(output).stderr(errors).spawn()
        };
        let supervisor = start().with_context(|| format!("failed to start {name}"))?;
        Ok(Self { name, supervisor, directory })
    }

    /// Starts a server on `port`, and returns it with its port when `is_ready`. 0 is a free port.
    ///
    /// Tries again when another process takes the port between its choice and its use.
    pub(crate) async fn start_on_port(
        port: u16,
        start: impl Fn(u16) -> Result<Self>,
        is_ready: impl AsyncFn(u16) -> bool,
    ) -> Result<(Self, u16)> {
        let wanted = port;
        let mut attempts = 3;
        loop {
            let port = available_port(wanted)?;
            let mut server = start(port)?;
            let answer = format!("the first answer of {}", server.name);
            let ready = wait_until(&answer, START_PATIENCE, async || {
                server.check_running()?;
                Ok(is_ready(port).await.then_some(()))
            });
            attempts -= 1;
            match ready.await {
                Ok(()) => return Ok((server, port)),
                Err(_) if attempts > 0 && server.log_tail().contains("already in use") => {}
                Err(error) => return Err(server.explain(error)),
            }
        }
    }

    /// Fails when the server has ended by itself; the error includes the end of its log.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        self.check_running().map_err(|error| self.explain(error))
    }

    fn check_running(&mut self) -> Result<()> {
        match self.supervisor.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => bail!("{} ended unexpectedly", self.name),
        }
    }

    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let (name, log) = (self.name, self.log_tail());
        error.context(format!("{name} does not respond. The end of its log:\n{log}"))
    }

    /// Returns the last lines of its output.
    pub(crate) fn log_tail(&self) -> String {
        self.directory.log_tail()
    }

    /// Returns the file of its output.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.directory.log_file()
    }

    /// Returns its working directory.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Stops the server; returns when nothing is left of it.
    pub(crate) async fn stop(mut self) -> Result<()> {
        spawn_blocking(move || self.end()).await.context("shutdown task was cancelled")?
    }

    fn end(&mut self) -> Result<()> {
        drop(self.supervisor.stdin.take());
        let deadline = Instant::now() + STOP_PATIENCE;
        while Instant::now() < deadline {
            if self.supervisor.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("{} did not stop within {} s", self.name, STOP_PATIENCE.as_secs())
    }
}

impl Drop for Server {
    /// Waits, so that nothing is left running when the shell's prompt returns.
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Returns `wanted`, or a free port for 0, if it was free a moment ago. Another process may take it before it
/// is used.
fn available_port(wanted: u16) -> Result<u16> {
    Ok(listen(wanted)?.local_addr()?.port())
}

/// Listens on a port of this machine; 0 is a free one.
pub(crate) fn listen(port: u16) -> Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).with_context(|| {
        format!("port {port} is not available. To use a free one, leave the option out")
    })
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;

    /// Ignores the request to end, and has a descendant that has left its process group.
    const STUBBORN: &str =
        "trap '' TERM; setsid sh -c 'echo escaped $$; exec sleep 600' & echo command $$; wait";
    const PATIENCE: Duration = Duration::from_secs(10);

    fn stubborn_server(parent: &Path) -> (Server, PathBuf) {
        let directory = Directory::create(parent, "stubborn").unwrap();
        let path = directory.path().to_owned();
        let supervisor = Supervisor::find().unwrap();
        let ending = Ending {
            stop_signal: "SIGTERM",
            patience: Duration::from_secs(1),
            orphan_signal: "SIGKILL",
            uid: None,
        };
        let mut command = ending.command(&supervisor, &directory, "/bin/sh");
        command.args(["-c", STUBBORN]);
        (Server::start("the stubborn one", command, directory).unwrap(), path)
    }

    /// Returns the process ids of the command and its descendant, which they write to the log.
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
        // A zombie has ended.
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_stopped_server() {
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
    async fn the_command_ends_when_its_supervisor_is_killed() {
        let parent = tempfile::tempdir().unwrap();
        let (mut server, _) = stubborn_server(parent.path());
        let [command, escaped] = processes(&server).await;

        server.supervisor.kill().unwrap();
        let end = async || Ok((!alive(command)).then_some(()));
        wait_until("the end of the command", PATIENCE, end).await.unwrap();
        wait_until("its error", PATIENCE, async || Ok(server.check_alive().err())).await.unwrap();
        // No supervisor is left to end this one: the limit of what is promised.
        let _ = Command::new("kill").args(["-9", &escaped.to_string()]).status();
    }
}
