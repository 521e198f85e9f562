//! Starts `run-canary`.

use lambda_runtime::Error;
use run_canary::config::Config;
use run_canary::handler::Handler;
use shared::config::Environment;

// One thread: the function waits for the network, and below 1,769 MB of memory it has less than one
// CPU (AWS Lambda, "Configure Lambda function memory").
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::lambda::run("run-canary", init, async |handler, _| handler.handle().await).await
}

async fn init(environment: &Environment) -> Result<Handler, Error> {
    let config = Config::from_environment(environment)?;
    let aws = shared::aws::from_environment(environment, &config.trust);
    Ok(run_canary::wiring::handler(config, &aws))
}
