//! Starts `presign-bdr-download`.

use lambda_runtime::Error;
use presign_bdr_download::config::Config;
use presign_bdr_download::handler::Handler;
use shared::config::Environment;

// One thread: the function waits for the network, and below 1,769 MB of memory it has less than one
// CPU (AWS Lambda, "Configure Lambda function memory").
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::lambda::run("presign-bdr-download", init, async |handler, event| {
        handler.handle(event).await
    })
    .await
}

async fn init(environment: &Environment) -> Result<Handler, Error> {
    let config = Config::from_environment(environment)?;
    let aws = shared::aws::from_environment(environment, &config.trust);
    Ok(presign_bdr_download::wiring::handler(config, &aws))
}
