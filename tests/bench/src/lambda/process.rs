//! A function's process.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::{process::Child, time::timeout};

use super::{
    Deployed,
    runtime_api::{Answer, RuntimeApi},
};

/// A function that has been started. Dropping it kills it; should we be killed, it ends by itself,
/// for its Runtime API has gone.
#[derive(Debug)]
pub(crate) struct Function {
    child: Child,
    pid: u32,
    api: RuntimeApi,
    log: PathBuf,
    timeout: Duration,
}

/// What came of an invocation.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// What the handler returned.
    pub(crate) response: Value,
    /// From the moment the event was there to be fetched.
    pub(crate) duration: Duration,
}

impl Function {
    /// Starts it with the environment it was deployed with, except for what `changed` says, and with
    /// `log` as its output.
    pub(crate) async fn start(
        deployed: &Deployed,
        changed: &[(&str, &str)],
        log: &Path,
    ) -> Result<Self> {
        let api = RuntimeApi::start(&deployed.arn, deployed.timeout).await?;
        let started = || {
            let (out, errors) = (File::create(log)?, File::options().append(true).open(log)?);
            tokio::process::Command::new(&deployed.bootstrap)
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
        Ok(Self { child, pid, api, log: log.to_owned(), timeout: deployed.timeout })
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Gives it an event, and waits for its answer.
    pub(crate) async fn invoke(&mut self, event: Value) -> Result<Invocation> {
        let begun = Instant::now();
        let answer = tokio::select! {
            answer = timeout(self.timeout, self.api.invoke(event)) => {
                answer.context("the function has not answered before its deadline")??
            }
            status = self.child.wait() => bail!("the function has ended by itself: {}", status?),
        };
        match answer {
            Answer::Response(response) => Ok(Invocation {
                duration: begun.elapsed(),
                response: serde_json::from_str(&response)
                    .with_context(|| format!("the function's answer is no JSON: {response}"))?,
            }),
            Answer::Error(error) => bail!("the function has failed: {error}"),
            Answer::InitError(error) => bail!("the function cannot start: {error}"),
        }
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("the function cannot be ended")
    }

    /// The last lines it has written.
    pub(crate) fn log_tail(&self) -> String {
        const LINES: usize = 20;
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}
