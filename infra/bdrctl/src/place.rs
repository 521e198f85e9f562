//! Where everything is: as the command line says, or else as the outputs of the stack do.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aws_config::SdkConfig;
use tokio::sync::OnceCell;

use crate::arguments::PlaceArguments;

/// The parts of a deployment, found when they are first asked for.
#[derive(Debug)]
pub struct Place {
    given: PlaceArguments,
    cloudformation: aws_sdk_cloudformation::Client,
    outputs: OnceCell<BTreeMap<String, String>>,
}

impl Place {
    /// The deployment that `given` describes.
    #[must_use]
    pub fn new(aws: &SdkConfig, given: PlaceArguments) -> Self {
        let cloudformation = aws_sdk_cloudformation::Client::new(aws);
        Self { given, cloudformation, outputs: OnceCell::new() }
    }

    /// URL of the queue.
    pub(crate) async fn queue_url(&self) -> Result<String> {
        self.find(self.given.queue_url.as_ref(), "QueueUrl").await
    }

    /// URL of the dead-letter queue.
    pub(crate) async fn dead_letter_queue_url(&self) -> Result<String> {
        self.find(self.given.dead_letter_queue_url.as_ref(), "DeadLetterQueueUrl").await
    }

    /// The vault's bucket.
    pub(crate) async fn bucket(&self) -> Result<String> {
        self.find(self.given.bucket.as_ref(), "VaultBucketName").await
    }

    /// Name of process-bdr-job.
    pub(crate) async fn process_function(&self) -> Result<String> {
        self.find(self.given.process_function.as_ref(), "ProcessBdrJobFunctionName").await
    }

    /// Name of cleanup-expired-bdrs.
    pub(crate) async fn cleanup_function(&self) -> Result<String> {
        self.find(self.given.cleanup_function.as_ref(), "CleanupExpiredBdrsFunctionName").await
    }

    /// Name of presign-bdr-download.
    pub(crate) async fn presign_function(&self) -> Result<String> {
        self.find(self.given.presign_function.as_ref(), "PresignBdrDownloadFunctionName").await
    }

    /// URL of the queue of cleanups that failed.
    pub(crate) async fn cleanup_failure_queue_url(&self) -> Result<String> {
        self.find(None, "CleanupFailureQueueUrl").await
    }

    async fn find(&self, given: Option<&String>, output: &str) -> Result<String> {
        if let Some(given) = given {
            return Ok(given.clone());
        }
        let outputs = self.outputs.get_or_try_init(|| Box::pin(self.describe())).await?;
        outputs.get(output).cloned().with_context(|| {
            format!(
                "The stack {} has no output {output}: it is not that of template.yaml, or its \
                 deployment has not ended. Name another by --stack.",
                self.given.stack
            )
        })
    }

    async fn describe(&self) -> Result<BTreeMap<String, String>> {
        let stack = &self.given.stack;
        let answer = self.cloudformation.describe_stacks().stack_name(stack).send().await;
        let answer = answer.with_context(|| {
            format!(
                "The outputs of the stack {stack} cannot be read, which say where everything is. \
                 Name the stack by --stack, and see to AWS_REGION and credentials with \
                 cloudformation:DescribeStacks; or give what is needed by flags (--help)."
            )
        })?;
        let outputs =
            answer.stacks.unwrap_or_default().into_iter().filter_map(|stack| stack.outputs);
        Ok(outputs
            .flatten()
            .filter_map(|output| Some((output.output_key?, output.output_value?)))
            .collect())
    }
}
