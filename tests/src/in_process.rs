//! Functions started in this process: by the contract's environment, on the scenario's database and
//! vault.

use std::time::Duration;

use lambda_runtime::{Context, Error, LambdaEvent};
use serde_json::Value;
use shared::config::Environment;
use time::OffsetDateTime;

use crate::scenario::Scenario;

/// The time of day.
#[must_use]
pub fn now() -> OffsetDateTime {
    shared::clock::Clock::system().now()
}

/// The environment that the template gives, changed by `variables`.
pub(crate) fn environment(
    scenario: &Scenario,
    queue_url: &str,
    variables: &[(&str, &str)],
) -> Environment {
    let contract = [
        ("DATABASE_URL", scenario.database_url.as_str()),
        ("VAULT_BUCKET", scenario.bucket()),
        ("BDR_QUEUE_URL", queue_url),
        ("EMAIL_FROM", local_stack::EMAIL_FROM),
        ("AWS_ENDPOINT_URL", scenario.stack.endpoint()),
    ];
    let changed = |name| variables.iter().any(|(changed, _)| *changed == name);
    let environment = contract.iter().filter(|(name, _)| !changed(*name)).chain(variables);
    Environment::of(environment.copied())
}

/// An invocation's context that has so much time left.
pub(crate) fn context(time_left: Duration) -> Context {
    let mut context = Context::default();
    let deadline = now() + time_left;
    context.deadline = u64::try_from(deadline.unix_timestamp_nanos() / 1_000_000).unwrap();
    context
}

/// `cleanup-expired-bdrs`, started.
pub struct Cleaner {
    /// Its handler. A scenario may replace parts of it.
    pub handler: cleanup_expired_bdrs::handler::Handler,
    /// How long before the deadline an invocation begins.
    pub time_left: Duration,
    /// The queue to which it republishes.
    pub queue_url: String,
}

impl Cleaner {
    /// Starts it with these further variables.
    pub async fn new(scenario: &Scenario, variables: &[(&str, &str)]) -> Self {
        let queue = scenario.sqs.create_queue().queue_name(crate::scenario::unique("c"));
        let queue_url = queue.send().await.unwrap().queue_url.unwrap();
        let environment = environment(scenario, &queue_url, variables);
        let config = cleanup_expired_bdrs::config::Config::from_environment(&environment).unwrap();
        let mut handler = cleanup_expired_bdrs::wiring::handler(config, &scenario.aws);
        handler.cleanup.metrics = scenario.log.metrics();
        Self { handler, time_left: Duration::from_mins(15), queue_url }
    }

    /// Invokes it; returns its report as its caller gets it.
    ///
    /// # Errors
    /// When the run as a whole fails.
    pub async fn run(&self, event: Value) -> Result<Value, Error> {
        let event = LambdaEvent::new(event, context(self.time_left));
        Ok(serde_json::to_value(self.handler.handle(event).await?)?)
    }
}

/// Starts `presign-bdr-download` with these further variables and invokes it.
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
