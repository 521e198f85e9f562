//! The function as `template.yaml` deploys it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use local_stack::{LocalStack, Workspace};
use serde::Deserialize;

/// What Lambda knows of a function.
#[derive(Debug)]
pub struct Deployed {
    /// Its binary.
    pub bootstrap: PathBuf,
    /// Its name in AWS.
    pub arn: String,
    /// Its memory, in MiB.
    pub memory_mb: u64,
    /// The longest that an invocation may take.
    pub timeout: Duration,
    /// What the function finds in its environment: what the template gives it, and what Lambda adds.
    pub environment: BTreeMap<String, String>,
}

/// `GetFunctionConfiguration`, as far as it is needed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    function_name: String,
    function_arn: String,
    memory_size: u64,
    timeout: u64,
    environment: Environment,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Environment {
    variables: BTreeMap<String, String>,
}

impl Deployed {
    /// process-bdr-job, as it was deployed to this stack.
    ///
    /// # Errors
    /// When the stack does not know it.
    pub async fn process_bdr_job(stack: &LocalStack) -> Result<Self> {
        const NAME: &str = "ProcessBdrJobFunctionName";
        let name = stack.outputs().get(NAME);
        let name = name.with_context(|| format!("template.yaml has no output named {NAME}"))?;
        let url = format!("{}/2015-03-31/functions/{name}/configuration", stack.endpoint());
        let asked = async {
            let answer = local_stack::http::client()?.get(url).send().await?;
            anyhow::Ok(answer.error_for_status()?.json::<Configuration>().await?)
        };
        let configuration =
            asked.await.with_context(|| format!("{name} has no configuration to be read"))?;

        let root = Workspace::find()?.root().to_owned();
        Ok(Self {
            bootstrap: root.join("target/lambda/process-bdr-job/bootstrap"),
            memory_mb: configuration.memory_size,
            timeout: Duration::from_secs(configuration.timeout),
            environment: environment(&configuration, stack),
            arn: configuration.function_arn,
        })
    }
}

fn environment(configuration: &Configuration, stack: &LocalStack) -> BTreeMap<String, String> {
    let memory = configuration.memory_size.to_string();
    let by_lambda = [
        ("AWS_LAMBDA_FUNCTION_NAME", configuration.function_name.as_str()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/process"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "process"),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("AWS_LAMBDA_LOG_LEVEL", "INFO"),
        ("LANG", "en_US.UTF-8"),
        ("PATH", "/usr/bin:/bin"),
        ("TZ", ":UTC"),
        ("_HANDLER", "bootstrap"),
    ];
    let of_the_stack = stack.environment().into_iter().flat_map(|(name, value)| {
        // Lambda sets both.
        let region = (name == "AWS_DEFAULT_REGION").then_some(("AWS_REGION", value));
        [(name, value)].into_iter().chain(region)
    });
    let mut environment = configuration.environment.variables.clone();
    let added = by_lambda.into_iter().chain(of_the_stack);
    environment.extend(added.map(|(name, value)| (name.to_owned(), value.to_owned())));
    environment
}
