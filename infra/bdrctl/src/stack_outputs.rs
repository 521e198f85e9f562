//! The names of a deployment's resources: from the command line, or else from the stack's outputs.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use aws_config::SdkConfig;
use aws_sdk_cloudformation::error::ProvideErrorMetadata;
use tokio::sync::OnceCell;

use crate::advised::Advised;
use crate::arguments::StackArguments;

/// The outputs of a CloudFormation stack, read when first needed. Arguments take precedence.
#[derive(Debug)]
pub struct StackOutputs {
    arguments: StackArguments,
    cloudformation: aws_sdk_cloudformation::Client,
    region: String,
    outputs: OnceCell<BTreeMap<String, String>>,
}

impl StackOutputs {
    /// Returns the outputs of the stack that `arguments` name, without a call to AWS.
    #[must_use]
    pub fn new(aws: &SdkConfig, arguments: StackArguments) -> Self {
        let cloudformation = aws_sdk_cloudformation::Client::new(aws);
        let region = aws.region().map_or("no region", |region| region.as_ref()).to_owned();
        Self { arguments, cloudformation, region, outputs: OnceCell::new() }
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

    async fn find(&self, argument: Option<&String>, output: &str) -> Result<String> {
        if let Some(argument) = argument {
            return Ok(argument.clone());
        }
        let outputs = self.outputs.get_or_try_init(|| Box::pin(self.describe())).await?;
        outputs.get(output).cloned().with_context(|| {
            Advised::new(
                format!("stack {} has no output {output}", self.arguments.stack),
                "Check that the deployment of template.yaml is complete, or specify another stack \
                 with --stack.",
            )
        })
    }

    async fn describe(&self) -> Result<BTreeMap<String, String>> {
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
        let outputs =
            response.stacks.unwrap_or_default().into_iter().filter_map(|stack| stack.outputs);
        Ok(outputs
            .flatten()
            .filter_map(|output| Some((output.output_key?, output.output_value?)))
            .collect())
    }
}
