//! Lambda's event source for a queue: it receives a message, invokes the function, and deletes the
//! message unless the function reports it as failed.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use local_stack::wait_until;
use serde_json::Value;

use super::{Deployed, Ending, Function, InFlight, Killer, TestQueue};

/// Longest wait for a message before the queue is counted again.
const POLL: Duration = Duration::from_secs(1);

/// Environment variables by name.
type Variables = Vec<(&'static str, String)>;

/// Delivers messages to a function, one at a time. The function's process serves one invocation after
/// the other; when it has died, the next message gets a new one.
pub struct EventSource<'a> {
    /// The function.
    pub deployed: &'a Deployed,
    /// Environment variables that override the deployed ones.
    pub changed: Variables,
    /// The directory for the output of the processes, a file each; must exist.
    pub logs: PathBuf,
    /// Called before each message with the handle and the id of the process.
    pub begin: Box<dyn Fn(Killer, u32) + 'a>,
    function: Option<Function>,
    started: u32,
}

/// The number of messages delivered.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Deliveries {
    /// Messages received.
    pub received: u32,
    /// Messages whose process died.
    pub died: u32,
}

impl<'a> EventSource<'a> {
    /// Creates an event source whose function is not started yet.
    #[must_use]
    pub fn new(deployed: &'a Deployed, changed: Variables, logs: PathBuf) -> Self {
        Self { deployed, changed, logs, begin: Box::new(|_, _| ()), function: None, started: 0 }
    }

    /// Delivers messages until the queue is empty, invisible ones included.
    ///
    /// # Errors
    /// When messages remain after `patience`, and when a function cannot start or fails.
    pub async fn drain(&mut self, queue: &TestQueue, patience: Duration) -> Result<Deliveries> {
        let mut deliveries = Deliveries::default();
        let drained = wait_until("the queue becoming empty", patience, async || {
            if queue.len().await? == 0 {
                return Ok(Some(()));
            }
            if let Some(ending) = self.deliver(queue).await? {
                deliveries.received += 1;
                deliveries.died += u32::from(matches!(ending, Ending::Died(_)));
            }
            Ok(None)
        })
        .await;
        drained.with_context(|| format!("after {deliveries:?}, with the log:\n{}", self.log()))?;
        Ok(deliveries)
    }

    /// Delivers one message if one is received within a second.
    ///
    /// # Errors
    /// When the function cannot start, or fails.
    pub async fn deliver(&mut self, queue: &TestQueue) -> Result<Option<Ending>> {
        let Some(message) = queue.receive(POLL).await? else { return Ok(None) };
        self.process(queue, &message).await.map(Some)
    }

    /// Delivers a message that is in flight.
    ///
    /// # Errors
    /// When the function cannot start, or fails.
    pub async fn process(&mut self, queue: &TestQueue, message: &InFlight) -> Result<Ending> {
        let mut function = match self.function.take() {
            Some(function) => function,
            None => self.start().await?,
        };
        (self.begin)(function.killer(), function.pid());
        let ending = function.run(message.event()).await;
        let ending = ending.with_context(|| format!("the function's log:\n{}", self.log()))?;
        if let Ending::Answered(invocation) = &ending {
            let failures = invocation.response["batchItemFailures"].as_array();
            let failures = failures.context("the response has no batchItemFailures")?;
            if !failures.iter().any(|failure| failure["itemIdentifier"] == message.id()) {
                queue.delete(message).await?;
            }
            self.function = Some(function);
        }
        Ok(ending)
    }

    /// Kills the function's process, if there is one.
    pub fn kill(&mut self) {
        self.function = None;
    }

    async fn start(&mut self) -> Result<Function> {
        self.started += 1;
        let changed: Vec<_> = self.changed.iter().map(|(name, value)| (*name, &**value)).collect();
        let log = self.logs.join(format!("{}.log", self.started));
        Function::launch(&[], self.deployed, &changed, &log).await
    }

    /// Returns the output of all processes.
    #[must_use]
    pub fn log(&self) -> String {
        let log = |number| fs::read_to_string(self.logs.join(format!("{number}.log")));
        (1..=self.started).filter_map(|number| log(number).ok()).collect()
    }

    /// Returns the lines of the output that are JSON.
    #[must_use]
    pub fn log_lines(&self) -> Vec<Value> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}
