//! Starts `process-bdr-job`: environment, log, clients, and then whatever Lambda sends.

use std::sync::Arc;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use process_bdr_job::config::Config;
use process_bdr_job::handler::Handler;
use serde_json::Value;
use shared::config::Environment;
use shared::telemetry::Logs;

// One thread: the function waits for the network, and most of its sizes have less than one CPU.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let environment = Environment::of_process();
    Logs::from_environment(&environment).init();
    let handler = match init(&environment).await {
        Ok(handler) => Arc::new(handler),
        Err(error) => {
            tracing::error!(error = %error, "process-bdr-job cannot start");
            return Err(error);
        }
    };
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
        let handler = Arc::clone(&handler);
        async move { handler.handle(event).await }
    }))
    .await
}

async fn init(environment: &Environment) -> Result<Handler, Error> {
    let config = Config::from_environment(environment)?;
    process_bdr_job::wiring::handler(config, &shared::aws::load().await)
}
