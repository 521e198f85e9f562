//! A function's process.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::{
    process::Child,
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    Deployed,
    runtime_api::{Answer, RuntimeApi},
};

/// A function that has been started. Dropping it kills it; should we be killed, it ends by itself,
/// for its Runtime API has gone.
#[derive(Debug)]
pub struct Function {
    child: Child,
    pid: u32,
    begun: Instant,
    api: RuntimeApi,
    log: PathBuf,
    timeout: Duration,
    killer: Killer,
    requests: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
}

/// What came of an invocation.
#[derive(Debug)]
pub struct Invocation {
    /// What the handler returned.
    pub response: Value,
    /// From the moment the event was there to be fetched.
    pub duration: Duration,
}

/// How an invocation ended.
#[derive(Debug)]
pub enum Ending {
    /// The handler returned.
    Answered(Invocation),
    /// The process ended, or was ended.
    Died(ExitStatus),
}

/// Kills a function while it is being invoked.
#[derive(Debug, Clone)]
pub struct Killer(mpsc::UnboundedSender<oneshot::Sender<()>>);

impl Killer {
    /// Sends `SIGKILL`, and returns when the process has gone. One that is not being invoked any
    /// more gets it with its next invocation.
    pub async fn kill(&self) {
        let (done, gone) = oneshot::channel();
        if self.0.send(done).is_ok() {
            // An error says that nobody invokes it any more.
            let _ = gone.await;
        }
    }
}

impl Function {
    /// Starts it with the environment it was deployed with, except for what `changed` says, and with
    /// `log` as its output.
    ///
    /// # Errors
    /// When its binary cannot be run.
    pub async fn start(deployed: &Deployed, changed: &[(&str, &str)], log: &Path) -> Result<Self> {
        Self::launch(&[], deployed, changed, log).await
    }

    /// The same by a command, its program first, that becomes the binary it is given last. No command
    /// at all starts the binary itself.
    ///
    /// # Errors
    /// When its binary cannot be run.
    pub async fn launch(
        launcher: &[String],
        deployed: &Deployed,
        changed: &[(&str, &str)],
        log: &Path,
    ) -> Result<Self> {
        let api = RuntimeApi::start(&deployed.arn, deployed.timeout).await?;
        let begun = Instant::now();
        let started = || {
            let (out, errors) = (File::create(log)?, File::options().append(true).open(log)?);
            let line = launcher.iter().map(OsStr::new).chain([deployed.bootstrap.as_os_str()]);
            let line: Vec<_> = line.collect();
            tokio::process::Command::new(line[0])
                .args(&line[1..])
                .env_clear()
                .envs(&deployed.environment)
                .env("AWS_LAMBDA_RUNTIME_API", api.address())
                .envs(changed.iter().copied())
                .current_dir(deployed.bootstrap.parent().unwrap_or(Path::new("/")))
                .stdin(Stdio::null())
                .stdout(out)
                .stderr(errors)
                .kill_on_drop(true)
                .spawn()
        };
        let child = started()
            .with_context(|| format!("{} cannot be started", deployed.bootstrap.display()))?;
        let pid = child.id().context("the function has ended as soon as it was started")?;
        let (killer, requests) = mpsc::unbounded_channel();
        Ok(Self {
            child,
            pid,
            begun,
            api,
            log: log.to_owned(),
            timeout: deployed.timeout,
            killer: Killer(killer),
            requests,
        })
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until it asks for its first event, and returns the time from its start.
    ///
    /// # Errors
    /// When it does not within its timeout.
    pub async fn polled(&mut self) -> Result<Duration> {
        let polled = timeout(self.timeout, self.api.polled()).await;
        let polled = polled.context("the function has not asked for anything")??;
        Ok(polled.saturating_duration_since(self.begun))
    }

    /// What kills it.
    #[must_use]
    pub fn killer(&self) -> Killer {
        self.killer.clone()
    }

    /// Gives it an event, and waits for its answer.
    ///
    /// # Errors
    /// When it cannot start, fails, ends, or is not done in time.
    pub async fn invoke(&mut self, event: Value) -> Result<Invocation> {
        match self.run(event).await? {
            Ending::Answered(invocation) => Ok(invocation),
            Ending::Died(status) => bail!("the function has ended by itself: {status}"),
        }
    }

    /// Gives it an event, and waits for its answer or its end.
    ///
    /// # Errors
    /// When it cannot start, fails, or is not done in time.
    pub async fn run(&mut self, event: Value) -> Result<Ending> {
        let begun = Instant::now();
        let answer = tokio::select! {
            answer = timeout(self.timeout, self.api.invoke(event)) => {
                answer.context("the function has not answered before its deadline")??
            }
            status = self.child.wait() => return Ok(Ending::Died(status?)),
            Some(done) = self.requests.recv() => {
                self.child.start_kill()?;
                let status = self.child.wait().await?;
                // Whoever killed it may have gone too.
                let _ = done.send(());
                return Ok(Ending::Died(status));
            }
        };
        match answer {
            Answer::Response(response) => Ok(Ending::Answered(Invocation {
                duration: begun.elapsed(),
                response: serde_json::from_str(&response)
                    .with_context(|| format!("the function's answer is no JSON: {response}"))?,
            })),
            Answer::Error(error) => bail!("the function has failed: {error}"),
            Answer::InitError(error) => bail!("the function cannot start: {error}"),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the system does not let us.
    pub async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("the function cannot be ended")
    }

    /// The last lines it has written.
    #[must_use]
    pub fn log_tail(&self) -> String {
        const LINES: usize = 20;
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}
