//! The queues: their settings, and messages in those that should be empty.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::Value;

use super::diagnosis::Diagnosis;
use super::functions::{configuration, variables};
use crate::operator::Operator;

const QUEUE: &str = "queue";
const DEAD_LETTERS: &str = "dead-letter queue";
const CLEANUP_FAILURES: &str = "cleanup failure queue";
const ALLOW: &str = "To check it, allow sqs:GetQueueAttributes.";
const DEPLOY: &str = "Deploy template.yaml again.";

type QueueAttributes = HashMap<QueueAttributeName, String>;

pub(super) async fn check(operator: &Operator, diagnosis: &mut Diagnosis) {
    let outputs = &operator.outputs;
    let queue = attributes(operator, outputs.queue_url().await).await;
    let dead = attributes(operator, outputs.dead_letter_queue_url().await).await;
    match (&queue, &dead) {
        (Ok(queue), Ok(dead)) => settings(operator, diagnosis, queue, dead).await,
        (Err(error), _) => diagnosis.not_checked(QUEUE, error, ALLOW),
        (_, Err(error)) => diagnosis.not_checked(DEAD_LETTERS, error, ALLOW),
    }
    if let Ok(dead) = &dead {
        let advice = "To preview a redrive, run `bdrctl redrive`.";
        check_empty(diagnosis, DEAD_LETTERS, length(dead), advice);
    }
    match attributes(operator, outputs.cleanup_failure_queue_url().await).await {
        Ok(failures) => {
            let advice = "Read the messages for the cause, then purge the queue. The next cleanup does \
                          their work.";
            check_empty(diagnosis, CLEANUP_FAILURES, length(&failures), advice);
        }
        Err(error) => diagnosis.not_checked(CLEANUP_FAILURES, &error, ALLOW),
    }
}

async fn attributes(operator: &Operator, url: Result<String>) -> Result<QueueAttributes> {
    let call = operator.sqs().get_queue_attributes().queue_url(url?);
    let call = call.attribute_names(QueueAttributeName::All);
    let response = call.send().await.context("cannot read the queue's attributes")?;
    response.attributes.context("SQS returned no attributes of the queue")
}

/// Returns the ARN of a queue.
pub(super) async fn arn(operator: &Operator, url: Result<String>) -> Result<String> {
    let arn = attributes(operator, url).await?.remove(&QueueAttributeName::QueueArn);
    arn.context("SQS returned no ARN of the queue")
}

/// Returns an attribute that is a number.
fn number(attributes: &QueueAttributes, name: &QueueAttributeName) -> Option<i64> {
    attributes.get(name)?.parse().ok()
}

/// Returns the number of messages, visible and hidden.
fn length(attributes: &QueueAttributes) -> Option<i64> {
    let visible = number(attributes, &QueueAttributeName::ApproximateNumberOfMessages)?;
    let hidden = number(attributes, &QueueAttributeName::ApproximateNumberOfMessagesNotVisible)?;
    Some(visible + hidden)
}

fn check_empty(diagnosis: &mut Diagnosis, check: &'static str, length: Option<i64>, advice: &str) {
    match length {
        Some(0) => diagnosis.ok(check, "is empty"),
        Some(1) => diagnosis.warning(check, "holds 1 message", advice),
        Some(count) => diagnosis.warning(check, format!("holds {count} messages"), advice),
        None => diagnosis.not_checked(
            check,
            &anyhow::anyhow!("SQS returned no number of messages"),
            ALLOW,
        ),
    }
}

async fn settings(
    operator: &Operator,
    diagnosis: &mut Diagnosis,
    queue: &QueueAttributes,
    dead: &QueueAttributes,
) {
    let policy = queue.get(&QueueAttributeName::RedrivePolicy);
    let policy: Value = policy.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let target = policy["deadLetterTargetArn"].as_str();
    let redriven =
        target.is_some() && target == dead.get(&QueueAttributeName::QueueArn).map(|arn| &**arn);
    let found = if redriven {
        "redrives to the dead-letter queue"
    } else {
        "does not redrive to the dead-letter queue"
    };
    diagnosis.require(redriven, QUEUE, found, DEPLOY);

    let retention = QueueAttributeName::MessageRetentionPeriod;
    let (kept, kept_dead) = (number(queue, &retention), number(dead, &retention));
    let longer = kept.zip(kept_dead).is_some_and(|(queue, dead)| dead > queue);
    let days = |seconds: Option<i64>| seconds.unwrap_or_default() / 86_400;
    let found =
        format!("retention is {} days, the queue's is {} days", days(kept_dead), days(kept));
    let advice = "Set a longer retention: SQS counts a message's age from its first send, so some expire \
                  on arrival.";
    diagnosis.require(longer, DEAD_LETTERS, found, advice);

    if let Err(error) = agreement(operator, diagnosis, queue, &policy).await {
        diagnosis.not_checked(QUEUE, &error, "To check it, allow lambda:GetFunctionConfiguration.");
    }
}

/// Checks the settings on which the queue and process-bdr-job must agree.
async fn agreement(
    operator: &Operator,
    diagnosis: &mut Diagnosis,
    queue: &QueueAttributes,
    policy: &Value,
) -> Result<()> {
    let function = configuration(operator, &operator.outputs.process_function().await?).await?;
    let timeout =
        i64::from(function.timeout.context("Lambda returned no timeout of the function")?);
    let visibility = number(queue, &QueueAttributeName::VisibilityTimeout);
    let visibility = visibility.context("SQS returned no visibility timeout")?;
    let found =
        format!("visibility timeout is {visibility} s, the function's timeout is {timeout} s");
    let advice = "Set it to at least the function's timeout: otherwise SQS delivers a message again \
                  during its attempt.";
    diagnosis.require(visibility >= timeout, QUEUE, found, advice);

    // A number or a string, depending on the client that set it.
    let receives = policy["maxReceiveCount"].to_string().replace('"', "");
    let expected = variables(&function).and_then(|all| all.get("MAX_RECEIVE_COUNT"));
    let expected = expected.map_or("not set", String::as_str);
    let found = format!("maxReceiveCount is {receives}, MAX_RECEIVE_COUNT is {expected}");
    let advice = "Set them to the same value: the function recognizes the last attempt by it.";
    diagnosis.require(receives == expected, QUEUE, found, advice);
    Ok(())
}
