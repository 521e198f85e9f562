//! A function as `template.yaml` deploys it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use local_stack::{LocalStack, Workspace};
use serde::Deserialize;

/// A function's binary and configuration.
#[derive(Debug)]
pub struct Deployed {
    /// The path of the binary.
    pub bootstrap: PathBuf,
    /// The function's ARN.
    pub arn: String,
    /// The function's memory in MiB.
    pub memory_mb: u64,
    /// The longest duration of an invocation.
    pub timeout: Duration,
    /// The function's environment: what the template sets, and what Lambda adds.
    pub environment: BTreeMap<String, String>,
}

/// The members of `GetFunctionConfiguration` that are used here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    function_arn: String,
    memory_size: u64,
    timeout: u64,
    environment: BTreeMap<String, BTreeMap<String, String>>,
}

impl Deployed {
    /// Reads the configuration of process-bdr-job from this stack.
    ///
    /// # Errors
    /// When the stack has no such function.
    pub async fn process_bdr_job(stack: &LocalStack) -> Result<Self> {
        Self::function(stack, "ProcessBdrJobFunctionName", "process-bdr-job").await
    }

    /// Reads the configuration of the function in this output, whose binary belongs to `package`.
    ///
    /// # Errors
    /// When the stack has no such function.
    pub async fn function(stack: &LocalStack, output: &str, package: &str) -> Result<Self> {
        let name = stack.output(output)?;
        let url = format!("{}/2015-03-31/functions/{name}/configuration", stack.endpoint());
        let answer = local_stack::http::client()?.get(url).send().await?.error_for_status();
        let answer =
            answer.with_context(|| format!("failed to read the configuration of {name}"))?;
        let mut configuration: Configuration = answer.json().await?;
        let mut environment = configuration.environment.remove("Variables").unwrap_or_default();
        let memory = configuration.memory_size.to_string();
        let by_lambda = [
            ("AWS_LAMBDA_FUNCTION_NAME", name),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/process"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "process"),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
            ("AWS_LAMBDA_LOG_LEVEL", "INFO"),
            ("AWS_REGION", "us-east-1"),
            ("LANG", "en_US.UTF-8"),
            ("PATH", "/usr/bin:/bin"),
            ("TZ", ":UTC"),
            ("_HANDLER", "bootstrap"),
        ];
        let added = by_lambda.into_iter().chain(stack.environment());
        environment.extend(added.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Ok(Self {
            bootstrap: Workspace::find()?.root().join(format!("target/lambda/{package}/bootstrap")),
            arn: configuration.function_arn,
            memory_mb: configuration.memory_size,
            timeout: Duration::from_secs(configuration.timeout),
            environment,
        })
    }
}
