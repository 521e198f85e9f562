//! The executions of the state machine of large exports (AWS Step Functions).

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sfn::Client;
use aws_sdk_sfn::config::timeout::TimeoutConfig;
use aws_sdk_sfn::operation::describe_execution::{DescribeExecutionError, DescribeExecutionOutput};
use aws_sdk_sfn::operation::start_execution::StartExecutionError;
use aws_sdk_sfn::primitives::DateTime;
use aws_sdk_sfn::types::ExecutionStatus;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::failure::Failure;
use crate::vault::{Export, execution_name};

/// Time limit of a call, its retries included.
const LIMIT: Duration = Duration::from_secs(15);

/// The state machine. Its execution for an export has a name of its own, so Step Functions rejects a second
/// start.
#[derive(Debug, Clone)]
pub struct Executions {
    client: Client,
    state_machine_arn: String,
}

/// The input of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionInput {
    /// The export.
    pub export: Export,
    /// The segments to write. The first one, 0, is in the upload when the execution starts.
    pub segments: Vec<u32>,
    /// Bytes of the first segment.
    #[serde(default)]
    pub first_segment_bytes: u64,
}

/// An execution.
#[derive(Debug, Clone)]
pub struct Execution {
    /// Its input.
    pub input: ExecutionInput,
    /// The time at which it started.
    pub started_at: OffsetDateTime,
    /// The time at which it ended; `None` while it runs.
    pub ended_at: Option<OffsetDateTime>,
}

impl Executions {
    /// Returns the state machine with this ARN, with a client by `aws`.
    #[must_use]
    pub fn new(aws: &SdkConfig, state_machine_arn: String) -> Self {
        let config = aws_sdk_sfn::config::Builder::from(aws)
            .timeout_config(TimeoutConfig::builder().operation_timeout(LIMIT).build());
        Self { client: Client::from_conf(config.build()), state_machine_arn }
    }

    /// Starts the execution of an export.
    ///
    /// # Errors
    /// A retryable failure when Step Functions does not accept it.
    pub async fn start(&self, input: &ExecutionInput) -> Result<(), Failure> {
        const CONTEXT: &str = "failed to start the export";
        let text = serde_json::to_string(input);
        let text = text.map_err(|error| Failure::permanent_fault(CONTEXT, error))?;
        let start = self
            .client
            .start_execution()
            .state_machine_arn(&self.state_machine_arn)
            .name(input.export.execution_name())
            .input(text);
        match start.send().await {
            Ok(_) => Ok(()),
            // A retry of the client, whose first request was accepted.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(StartExecutionError::is_execution_already_exists) =>
            {
                Ok(())
            }
            Err(error) => Err(Failure::retry(CONTEXT, error)),
        }
    }

    /// Returns the execution of the export that the attempt with this fencing token began, if there is one.
    /// Step Functions keeps an execution for 90 days after its end ("Quotas related to state machine
    /// executions").
    ///
    /// # Errors
    /// A retryable failure when Step Functions does not respond, a permanent one when the execution has
    /// another input.
    pub async fn find(
        &self,
        bdr_id: Uuid,
        token: OffsetDateTime,
    ) -> Result<Option<Execution>, Failure> {
        const CONTEXT: &str = "failed to look for the execution of an export";
        let state_machine = self.state_machine_arn.replacen(":stateMachine:", ":execution:", 1);
        let arn = format!("{state_machine}:{}", execution_name(bdr_id, token));
        match self.client.describe_execution().execution_arn(arn).send().await {
            Ok(described) => {
                let execution = Execution::of(&described);
                execution.map(Some).map_err(|error| Failure::permanent_fault(CONTEXT, error))
            }
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(DescribeExecutionError::is_execution_does_not_exist) =>
            {
                Ok(None)
            }
            Err(error) => Err(Failure::retry(CONTEXT, error)),
        }
    }
}

impl Execution {
    fn of(described: &DescribeExecutionOutput) -> Result<Self, serde_json::Error> {
        let time = |time: &DateTime| OffsetDateTime::from_unix_timestamp(time.secs()).ok();
        let started_at = time(described.start_date()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let is_running = *described.status() == ExecutionStatus::Running;
        // An execution that has ended has the time of its end.
        let ended_at = described.stop_date().and_then(time).unwrap_or(started_at);
        Ok(Self {
            input: serde_json::from_str(described.input().unwrap_or_default())?,
            started_at,
            ended_at: (!is_running).then_some(ended_at),
        })
    }

    /// Returns whether the execution has not ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.ended_at.is_none()
    }
}
