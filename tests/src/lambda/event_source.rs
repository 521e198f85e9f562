//! What Lambda does with a queue: receives a message, invokes the function, deletes what was not
//! reported, and again, until nothing is left to receive.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::time::Instant;

use super::{Deployed, Ending, Function, Killer, Message, Queue};

/// Longest wait for a message, before looking whether there still is one.
const LOOK: Duration = Duration::from_secs(1);

/// A queue's messages on their way to a function, one at a time. The function's process lives from
/// one invocation to the next; when it has died, the next message gets a new one.
#[derive(Debug)]
pub struct EventSource<'a> {
    /// The function.
    pub deployed: &'a Deployed,
    /// What in its environment is other than deployed.
    pub changed: Vec<(&'static str, String)>,
    /// Where its processes log, a file each; must exist.
    pub logs: PathBuf,
    function: Option<Function>,
    started: u32,
}

/// What has happened to a queue's messages.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Deliveries {
    /// Messages that were received.
    pub received: u32,
    /// Processes that died of one.
    pub died: u32,
}

impl<'a> EventSource<'a> {
    /// An event source whose function has not been started yet.
    #[must_use]
    pub fn new(
        deployed: &'a Deployed,
        changed: Vec<(&'static str, String)>,
        logs: PathBuf,
    ) -> Self {
        Self { deployed, changed, logs, function: None, started: 0 }
    }

    /// Delivers the messages until the queue holds none, not even an invisible one. `begin` is told
    /// of every process before it gets a message.
    ///
    /// # Errors
    /// When messages are left after `patience`, and when a function cannot start or fails.
    pub async fn drain(
        &mut self,
        queue: &Queue,
        patience: Duration,
        begin: impl Fn(Killer, u32),
    ) -> Result<Deliveries> {
        let (mut deliveries, until) = (Deliveries::default(), Instant::now() + patience);
        while queue.len().await? > 0 {
            if Instant::now() > until {
                bail!("messages are left after {deliveries:?}:\n{}", self.log());
            }
            match self.deliver(queue, &begin).await? {
                None => {}
                Some(Ending::Answered(_)) => deliveries.received += 1,
                Some(Ending::Died(_)) => {
                    deliveries.received += 1;
                    deliveries.died += 1;
                }
            }
        }
        Ok(deliveries)
    }

    /// Delivers one message, if one can be received soon.
    ///
    /// # Errors
    /// When the function cannot start, or fails.
    pub async fn deliver(
        &mut self,
        queue: &Queue,
        begin: impl Fn(Killer, u32),
    ) -> Result<Option<Ending>> {
        let Some(message) = queue.receive(LOOK).await? else { return Ok(None) };
        self.process(queue, &message, begin).await.map(Some)
    }

    /// Delivers a message that was received.
    ///
    /// # Errors
    /// When the function cannot start, or fails.
    pub async fn process(
        &mut self,
        queue: &Queue,
        message: &Message,
        begin: impl Fn(Killer, u32),
    ) -> Result<Ending> {
        let mut function = match self.function.take() {
            Some(function) => function,
            None => self.start().await?,
        };
        begin(function.killer(), function.pid());
        let ending = function.run(message.event()).await;
        let ending = ending.with_context(|| format!("the function has logged:\n{}", self.log()))?;
        if let Ending::Answered(invocation) = &ending {
            let failures = invocation.response["batchItemFailures"].as_array();
            let failures = failures.context("the answer has no batchItemFailures")?;
            if !failures.iter().any(|failure| failure["itemIdentifier"] == message.id()) {
                queue.delete(message).await?;
            }
            self.function = Some(function);
        }
        Ok(ending)
    }

    /// Kills its process, if there is one.
    pub fn kill(&mut self) {
        self.function = None;
    }

    async fn start(&mut self) -> Result<Function> {
        self.started += 1;
        let changed: Vec<_> = self.changed.iter().map(|(name, value)| (*name, &**value)).collect();
        let log = self.logs.join(format!("{}.log", self.started));
        Function::start(self.deployed, &changed, &log).await
    }

    /// Everything that its processes have logged.
    #[must_use]
    pub fn log(&self) -> String {
        let log = |number| fs::read_to_string(self.logs.join(format!("{number}.log")));
        (1..=self.started).filter_map(|number| log(number).ok()).collect()
    }

    /// The lines of the log that are JSON.
    #[must_use]
    pub fn log_lines(&self) -> Vec<Value> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}
