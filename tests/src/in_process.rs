//! Functions that run in this process: configured by the environment of `template.yaml`, on the
//! scenario's database and vault, without Lambda.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use lambda_runtime::{Context, Error, LambdaEvent};
use local_stack::remote::RemoteHost;
use process_bdr_job::artwork::Fetcher;
use process_bdr_job::memory::Memory;
use process_bdr_job::remote::{Remote, Web};
use serde_json::Value;
use shared::config::Environment;
use shared::lambda::InvocationError;
use shared::vault::Vault;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::lambda::TestQueue;
use crate::privacy::Secrets;
use crate::scenario::{Scenario, unique};

/// Time between an invocation and its deadline, unless a scenario sets another.
const TIME_LEFT: Duration = Duration::from_mins(15);
/// Longest wait for a message that was just sent: the longest that SQS allows.
const PATIENCE: Duration = Duration::from_secs(20);

/// `process-bdr-job` with a queue of its own, for which it plays Lambda.
pub struct Worker {
    /// The function's handler. A scenario may replace parts of it.
    pub handler: process_bdr_job::handler::Handler,
    /// Time between an invocation and its deadline.
    pub time_left: Duration,
    queue: TestQueue,
    secrets: Secrets,
}

/// `cleanup-expired-bdrs`.
pub struct Cleaner {
    /// The function's handler. A scenario may replace parts of it.
    pub handler: cleanup_expired_bdrs::handler::Handler,
    /// Time between an invocation and its deadline.
    pub time_left: Duration,
    /// The queue to which the function publishes requests again.
    pub queue_url: String,
}

/// The fate of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Acknowledged, and deleted.
    Acknowledged,
    /// Reported as failed, and visible again.
    BackNow,
    /// Reported as failed, and still invisible.
    BackLater,
}

impl Scenario {
    /// Starts `process-bdr-job`; `variables` override its environment.
    pub async fn worker(&self, variables: &[(&str, &str)]) -> Worker {
        self.worker_through(&self.aws, variables).await
    }

    /// Starts `process-bdr-job` with AWS clients that use `aws`.
    pub async fn worker_through(&self, aws: &SdkConfig, variables: &[(&str, &str)]) -> Worker {
        // The visibility timeout in `template.yaml`.
        let timeout = Duration::from_mins(16);
        let queue = TestQueue::create(self.sqs.clone(), &unique("q"), timeout).await.unwrap();
        let environment = environment(self, queue.url(), variables);
        let config = process_bdr_job::config::Config::from_environment(&environment).unwrap();
        let mut handler = process_bdr_job::wiring::handler(config, aws).unwrap();
        handler.metrics = self.log.metrics();
        Worker { handler, time_left: TIME_LEFT, queue, secrets: self.secrets.clone() }
    }

    /// Starts `process-bdr-job` with artworks from `host` in place of the vault.
    pub async fn worker_with_artworks_from(&self, host: &RemoteHost) -> Worker {
        let aws = self.stack.sdk_config().into_builder().endpoint_url(host.url("")).build();
        self.worker_with_artworks_in(Vault::new(shared::aws::s3(&aws, true), "vault")).await
    }

    /// Starts `process-bdr-job` with artworks from another vault than its archives.
    pub async fn worker_with_artworks_in(&self, vault: Vault) -> Worker {
        let mut worker = self.worker(&[]).await;
        let remote = Arc::new(Remote::new(Web::default(), HashSet::new()));
        let memory = Memory::plan(512 << 20, 64 << 20);
        worker.handler.job.archiver.fetcher = Fetcher::new(vault, remote, memory);
        worker
    }
}

impl Worker {
    /// Returns the URL of the worker's queue.
    #[must_use]
    pub fn queue_url(&self) -> &str {
        self.queue.url()
    }

    /// Delivers the request's message for the first time.
    pub async fn receive(&self, bdr_id: Uuid) -> Delivery {
        self.receive_again(&Scenario::message(bdr_id), 1).await
    }

    /// Delivers a message with this receive count, and acknowledges it unless the function reports it
    /// as failed.
    pub async fn receive_again(&self, body: &str, receive_count: u32) -> Delivery {
        self.queue.send(body).await.unwrap();
        let message = self.queue.receive(PATIENCE).await.unwrap().expect("a message");
        let mut event = message.event();
        let record = &mut event["Records"][0];
        // The queue may return a message that an earlier delivery left.
        record["body"] = body.into();
        record["attributes"]["ApproximateReceiveCount"] = receive_count.to_string().into();
        // The receipt handle lets its holder delete the message.
        self.secrets.add(record["receiptHandle"].as_str().unwrap());
        let failures = self.invoke(event).await;
        if failures.is_empty() {
            self.queue.delete(&message).await.unwrap();
            return Delivery::Acknowledged;
        }
        assert_eq!(failures, [message.id()], "the failed message is reported by its id");
        match self.queue.counts().await.unwrap() {
            [1, ..] => Delivery::BackNow,
            [_, 1, _] => Delivery::BackLater,
            counts => panic!("the failed message is not in the queue: {counts:?}"),
        }
    }

    /// Invokes the handler; returns the ids of the messages that it reports as failed.
    pub async fn invoke(&self, event: Value) -> Vec<String> {
        let event = LambdaEvent::new(event, context(self.time_left));
        let answer = self.handler.handle(event).await.unwrap();
        answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
    }

    /// Invokes the function as the state machine of large exports does.
    ///
    /// # Errors
    /// When the state machine must try again, or end the export.
    pub async fn export(&self, event: Value) -> Result<Value, InvocationError> {
        let event = LambdaEvent::new(event, context(self.time_left));
        Ok(serde_json::to_value(self.handler.respond(event).await?).unwrap())
    }

    /// Deletes all messages of the queue, invisible ones included; returns their number.
    pub async fn drain(&self) -> u64 {
        self.queue.drain().await.unwrap()
    }
}

impl Cleaner {
    /// Starts the function; `variables` override its environment.
    pub async fn new(scenario: &Scenario, variables: &[(&str, &str)]) -> Self {
        let queue = scenario.sqs.create_queue().queue_name(unique("c")).send();
        let queue_url = queue.await.unwrap().queue_url.unwrap();
        let environment = environment(scenario, &queue_url, variables);
        let config = cleanup_expired_bdrs::config::Config::from_environment(&environment).unwrap();
        let mut handler = cleanup_expired_bdrs::wiring::handler(config, &scenario.aws);
        handler.cleanup.metrics = scenario.log.metrics();
        Self { handler, time_left: TIME_LEFT, queue_url }
    }

    /// Invokes the function; returns its report.
    ///
    /// # Errors
    /// When the run as a whole fails.
    pub async fn run(&self, event: Value) -> Result<Value, Error> {
        let event = LambdaEvent::new(event, context(self.time_left));
        Ok(serde_json::to_value(self.handler.handle(event).await?)?)
    }
}

/// Starts and invokes `run-canary` for this request, which it publishes to the queue at `queue_url`; `variables`
/// override its environment.
///
/// # Errors
/// When the invocation fails.
pub async fn canary(
    scenario: &Scenario,
    bdr_id: Uuid,
    queue_url: &str,
    variables: &[(&str, &str)],
) -> Result<Value, Error> {
    let id = bdr_id.to_string();
    let own = [("CANARY_REQUEST_ID", id.as_str())];
    let environment = environment(scenario, queue_url, &[&own, variables].concat());
    let config = run_canary::config::Config::from_environment(&environment)?;
    let mut handler = run_canary::wiring::handler(config, &scenario.aws);
    handler.metrics = scenario.log.metrics();
    Ok(serde_json::to_value(handler.handle().await?)?)
}

/// Starts and invokes `presign-bdr-download`; `variables` override its environment.
///
/// # Errors
/// When the invocation fails.
pub async fn presign(
    scenario: &Scenario,
    variables: &[(&str, &str)],
    payload: Value,
) -> Result<Value, Error> {
    let environment = environment(scenario, "none", variables);
    let config = presign_bdr_download::config::Config::from_environment(&environment)?;
    let handler = presign_bdr_download::wiring::handler(config, &scenario.aws);
    let event = LambdaEvent::new(payload, context(Duration::from_secs(10)));
    Ok(serde_json::to_value(handler.handle(event).await?)?)
}

/// Returns the time of day.
#[must_use]
pub fn now() -> OffsetDateTime {
    shared::clock::Clock::system().now()
}

/// The environment that the template sets, overridden by `variables`.
fn environment(scenario: &Scenario, queue_url: &str, variables: &[(&str, &str)]) -> Environment {
    let deployed = [
        ("DATABASE_URL", scenario.database_url.as_str()),
        ("VAULT_BUCKET", scenario.bucket()),
        ("BDR_QUEUE_URL", queue_url),
        ("EMAIL_FROM", local_stack::EMAIL_FROM),
        ("AWS_ENDPOINT_URL", scenario.stack.endpoint()),
    ];
    Environment::of(deployed.iter().chain(variables).copied())
}

fn context(time_left: Duration) -> Context {
    let mut context = Context::default();
    let deadline_ms = (now() + time_left).unix_timestamp_nanos() / 1_000_000;
    context.deadline = u64::try_from(deadline_ms).unwrap();
    context
}
