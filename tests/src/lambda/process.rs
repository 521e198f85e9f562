//! A function's process.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::Deployed;
use super::runtime_api::RuntimeApi;

/// A running function. Dropping it kills the process. If the owner is killed, the process ends by
/// itself, because its Runtime API is gone.
#[derive(Debug)]
pub struct Function {
    child: Child,
    begun: Instant,
    api: RuntimeApi,
    log: PathBuf,
    timeout: Duration,
    killer: Killer,
    kills: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
}

/// The result of an invocation.
#[derive(Debug)]
pub struct Invocation {
    /// The handler's response.
    pub response: Value,
    /// The time since the event was available to the process.
    pub duration: Duration,
}

/// The end of an invocation.
#[derive(Debug)]
pub enum Ending {
    /// The handler returned.
    Answered(Invocation),
    /// The process ended, or was killed.
    Died(ExitStatus),
}

/// A handle that kills a function during an invocation.
#[derive(Debug, Clone)]
pub struct Killer(mpsc::UnboundedSender<oneshot::Sender<()>>);

impl Killer {
    /// Sends `SIGKILL`, and returns when the process has ended. Without an invocation the signal waits
    /// for the next one.
    pub async fn kill(&self) {
        let (done, ended) = oneshot::channel();
        if self.0.send(done).is_ok() {
            // An error means that the function was dropped, and so has ended.
            let _ = ended.await;
        }
    }
}

impl Function {
    /// Starts the binary with the deployed environment, overridden by `changed`; its output goes to the
    /// file `log`. A `launcher` is a command line, its program first, that executes the binary, which
    /// becomes its last argument.
    ///
    /// # Errors
    /// When the binary or the launcher cannot be started.
    pub async fn launch(
        launcher: &[String],
        deployed: &Deployed,
        changed: &[(&str, &str)],
        log: &Path,
    ) -> Result<Self> {
        let api = RuntimeApi::start(&deployed.arn, deployed.timeout).await?;
        let begun = Instant::now();
        let (out, errors) = (File::create(log)?, File::options().append(true).open(log)?);
        let line = launcher.iter().map(OsStr::new).chain([deployed.bootstrap.as_os_str()]);
        let line: Vec<_> = line.collect();
        let child = Command::new(line[0])
            .args(&line[1..])
            .env_clear()
            .envs(&deployed.environment)
            .env("AWS_LAMBDA_RUNTIME_API", api.address.to_string())
            .envs(changed.iter().copied())
            .current_dir(deployed.bootstrap.parent().unwrap_or(Path::new("/")))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start {}", deployed.bootstrap.display()))?;
        let (killer, kills) = mpsc::unbounded_channel();
        let (killer, timeout) = (Killer(killer), deployed.timeout);
        Ok(Self { child, begun, api, log: log.to_owned(), timeout, killer, kills })
    }

    /// Returns the process id, or 0 once the process has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Returns a handle that kills the process.
    #[must_use]
    pub fn killer(&self) -> Killer {
        self.killer.clone()
    }

    /// Waits until the process polls for its first event; returns the time since its start.
    ///
    /// # Errors
    /// When it does not poll within its timeout.
    pub async fn polled(&mut self) -> Result<Duration> {
        let polled = timeout(self.timeout, self.api.polled()).await;
        let polled = polled.context("the function has not polled for an event in time")?;
        Ok(polled.saturating_duration_since(self.begun))
    }

    /// Invokes the function, and waits for its response.
    ///
    /// # Errors
    /// When it cannot start, fails, ends, or does not respond in time.
    pub async fn invoke(&mut self, event: Value) -> Result<Invocation> {
        match self.run(event).await? {
            Ending::Answered(invocation) => Ok(invocation),
            Ending::Died(status) => bail!("the function ended by itself: {status}"),
        }
    }

    /// Invokes the function, and waits for its response or its end.
    ///
    /// # Errors
    /// When it cannot start, fails, or does not respond in time.
    pub async fn run(&mut self, event: Value) -> Result<Ending> {
        let begun = Instant::now();
        let answer = tokio::select! {
            answer = timeout(self.timeout, self.api.invoke(event)) => answer,
            status = self.child.wait() => return Ok(Ending::Died(status?)),
            Some(done) = self.kills.recv() => {
                self.child.start_kill()?;
                let status = self.child.wait().await?;
                // An error means that the caller of `kill` does not wait any more.
                let _ = done.send(());
                return Ok(Ending::Died(status));
            }
        };
        let answer = answer.context("the function has not responded before its deadline")??;
        let response = answer.map_err(anyhow::Error::msg).context("the function failed")?;
        let response = serde_json::from_str(&response)
            .with_context(|| format!("the function's response is not JSON: {response}"))?;
        Ok(Ending::Answered(Invocation { response, duration: begun.elapsed() }))
    }

    /// Kills the process, and waits for its end.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("failed to kill the function")
    }

    /// Returns the process's output so far; nothing if it cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns the last 20 lines of the process's output.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}
