//! The entry point of `process-bdr-job`.

use lambda_runtime::Error;
use process_bdr_job::config::Config;
use process_bdr_job::handler::Handler;
use shared::config::Environment;

// One thread: the function waits for the network, and most memory sizes have less than one CPU.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::lambda::run("process-bdr-job", init, async |handler, event| {
        handler.respond(event).await
    })
    .await
}

async fn init(environment: &Environment) -> Result<Handler, Error> {
    let config = Config::from_environment(environment)?;
    let aws = shared::aws::from_environment(environment, &config.trust);
    process_bdr_job::wiring::handler(config, &aws)
}
