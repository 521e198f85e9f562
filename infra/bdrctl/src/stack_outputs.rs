//! The names of a deployment's resources: from the command line, or else from the stack's outputs. The
//! stack's parameters.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use aws_config::SdkConfig;
use aws_sdk_cloudformation::error::ProvideErrorMetadata;
use aws_sdk_cloudformation::types::Stack;
use tokio::sync::OnceCell;

use crate::advised::Advised;
use crate::arguments::StackArguments;

/// A parameter of the deployed stack that CloudFormation shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    /// The deployed value.
    pub(crate) value: String,
    /// The default of the deployed template.
    pub(crate) default: Option<String>,
}

/// The parameters of the deployed stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parameters {
    pub(crate) shown: Vec<Parameter>,
    /// The names of the parameters whose values CloudFormation hides (`NoEcho`).
    pub(crate) hidden: Vec<String>,
}

/// The outputs of a CloudFormation stack, read when first needed. Arguments take precedence.
#[derive(Debug)]
pub struct StackOutputs {
    arguments: StackArguments,
    cloudformation: aws_sdk_cloudformation::Client,
    region: String,
    described: OnceCell<Stack>,
}

impl StackOutputs {
    /// Returns the outputs of the stack that `arguments` name, without a call to AWS.
    #[must_use]
    pub fn new(aws: &SdkConfig, arguments: StackArguments) -> Self {
        let cloudformation = aws_sdk_cloudformation::Client::new(aws);
        let region = aws.region().map_or("no region", |region| region.as_ref()).to_owned();
        Self { arguments, cloudformation, region, described: OnceCell::new() }
    }

    /// Returns the name of the stack.
    pub(crate) fn stack(&self) -> &str {
        &self.arguments.stack
    }

    /// Returns the region of the stack.
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// Returns the deployed value of a parameter.
    pub(crate) async fn parameter(&self, name: &str) -> Result<Option<String>> {
        let mut parameters = self.described().await?.parameters().iter();
        let parameter = parameters.find(|parameter| parameter.parameter_key() == Some(name));
        Ok(parameter.and_then(|parameter| parameter.parameter_value()).map(str::to_owned))
    }

    /// Returns the stack's parameters with the defaults of its template.
    pub(crate) async fn parameters(&self) -> Result<Parameters> {
        let described = self.described().await?;
        let summary = self.cloudformation.get_template_summary().stack_name(self.stack());
        let summary = summary.send().await.context("cannot read the template's parameters")?;
        let declared: BTreeMap<_, _> = summary
            .parameters()
            .iter()
            .filter_map(|parameter| Some((parameter.parameter_key()?, parameter)))
            .collect();
        let mut parameters = Parameters::default();
        for parameter in described.parameters() {
            let Some(name) = parameter.parameter_key() else { continue };
            match (declared.get(name), parameter.parameter_value()) {
                (Some(declared), Some(value)) if declared.no_echo() != Some(true) => {
                    parameters.shown.push(Parameter {
                        name: name.to_owned(),
                        value: value.to_owned(),
                        default: declared.default_value().map(str::to_owned),
                    });
                }
                _ => parameters.hidden.push(name.to_owned()),
            }
        }
        Ok(parameters)
    }

    /// Returns the URL of the queue.
    pub(crate) async fn queue_url(&self) -> Result<String> {
        self.find(self.arguments.queue_url.as_ref(), "QueueUrl").await
    }

    /// Returns the URL of the dead-letter queue.
    pub(crate) async fn dead_letter_queue_url(&self) -> Result<String> {
        self.find(self.arguments.dead_letter_queue_url.as_ref(), "DeadLetterQueueUrl").await
    }

    /// Returns the name of the vault's bucket.
    pub(crate) async fn bucket(&self) -> Result<String> {
        self.find(self.arguments.bucket.as_ref(), "VaultBucketName").await
    }

    /// Returns the name of process-bdr-job.
    pub(crate) async fn process_function(&self) -> Result<String> {
        self.find(self.arguments.process_function.as_ref(), "ProcessBdrJobFunctionName").await
    }

    /// Returns the name of cleanup-expired-bdrs.
    pub(crate) async fn cleanup_function(&self) -> Result<String> {
        self.find(self.arguments.cleanup_function.as_ref(), "CleanupExpiredBdrsFunctionName").await
    }

    /// Returns the name of presign-bdr-download.
    pub(crate) async fn presign_function(&self) -> Result<String> {
        self.find(self.arguments.presign_function.as_ref(), "PresignBdrDownloadFunctionName").await
    }

    /// Returns the name of run-canary, if the stack has a canary.
    pub(crate) async fn canary_function(&self) -> Result<Option<String>> {
        self.optional("RunCanaryFunctionName").await
    }

    /// Returns the log group of run-canary, if the stack has a canary.
    pub(crate) async fn canary_log_group(&self) -> Result<Option<String>> {
        self.optional("RunCanaryLogGroupName").await
    }

    /// Returns the URL of the queue of failed cleanups.
    pub(crate) async fn cleanup_failure_queue_url(&self) -> Result<String> {
        self.find(None, "CleanupFailureQueueUrl").await
    }

    /// Returns the log group of process-bdr-job.
    pub(crate) async fn process_log_group(&self) -> Result<String> {
        self.find(None, "ProcessBdrJobLogGroupName").await
    }

    /// Returns the log group of cleanup-expired-bdrs.
    pub(crate) async fn cleanup_log_group(&self) -> Result<String> {
        self.find(None, "CleanupExpiredBdrsLogGroupName").await
    }

    /// Returns the log group of presign-bdr-download.
    pub(crate) async fn presign_log_group(&self) -> Result<String> {
        self.find(None, "PresignBdrDownloadLogGroupName").await
    }

    /// Returns the ARN of the state machine of large exports; `None` if the deployment has none.
    pub(crate) async fn export_state_machine(&self) -> Result<Option<String>> {
        let mut outputs = self.described().await?.outputs().iter();
        let found = outputs.find(|found| found.output_key() == Some("ExportStateMachineArn"));
        Ok(found.and_then(|found| found.output_value()).map(str::to_owned))
    }

    async fn find(&self, argument: Option<&String>, output: &str) -> Result<String> {
        if let Some(argument) = argument {
            return Ok(argument.clone());
        }
        self.optional(output).await?.with_context(|| {
            Advised::new(
                format!("stack {} has no output {output}", self.arguments.stack),
                "Check that the deployment of template.yaml is complete, or specify another stack \
                 with --stack.",
            )
        })
    }

    /// Returns an output that only some stacks have.
    async fn optional(&self, output: &str) -> Result<Option<String>> {
        let mut outputs = self.described().await?.outputs().iter();
        let found = outputs.find(|found| found.output_key() == Some(output));
        Ok(found.and_then(|found| found.output_value()).map(str::to_owned))
    }

    async fn described(&self) -> Result<&Stack> {
        self.described.get_or_try_init(|| Box::pin(self.describe())).await
    }

    async fn describe(&self) -> Result<Stack> {
        let stack = &self.arguments.stack;
        let response = self.cloudformation.describe_stacks().stack_name(stack).send().await;
        // CloudFormation has no error of its own for a stack that does not exist.
        if let Err(error) = &response
            && let Some(metadata) = error.as_service_error().map(ProvideErrorMetadata::meta)
            && metadata.code() == Some("ValidationError")
            && metadata.message().is_some_and(|message| message.contains("does not exist"))
        {
            bail!(Advised::not_found(
                format!("no stack {stack:?} in {}", self.region),
                "Check --stack and AWS_REGION, or specify the resources by options (`bdrctl --help`).",
            ));
        }
        let response = response.with_context(|| {
            Advised::new(
                format!("failed to read the outputs of stack {stack}"),
                "Check --stack, AWS_REGION and the credentials (cloudformation:DescribeStacks), or \
                 specify the resources by options (`bdrctl --help`).",
            )
        })?;
        let described = response.stacks.unwrap_or_default().into_iter().next();
        described.with_context(|| format!("CloudFormation returned no stack {stack}"))
    }
}
