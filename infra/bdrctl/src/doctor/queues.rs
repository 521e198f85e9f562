//! The queues: how they redrive, and what lies in those that must be empty.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::Value;

use super::finding::Report;
use super::functions::{configuration, variables};
use crate::operator::Operator;

const QUEUE: &str = "queue";
const DEAD: &str = "dead-letter queue";
const FAILURES: &str = "failed cleanups";
const NEEDS: &str = "Needs sqs:GetQueueAttributes.";
const DEPLOY: &str = "Deploy template.yaml again.";

type Attributes = HashMap<QueueAttributeName, String>;

pub(super) async fn check(operator: &Operator, report: &mut Report) {
    let place = &operator.place;
    let queue = attributes(operator, place.queue_url().await).await;
    let dead = attributes(operator, place.dead_letter_queue_url().await).await;
    match (&queue, &dead) {
        (Ok(queue), Ok(dead)) => settings(operator, report, queue, dead).await,
        (Err(error), _) => report.not_checked(QUEUE, error, NEEDS),
        (_, Err(error)) => report.not_checked(DEAD, error, NEEDS),
    }
    if let Ok(dead) = &dead {
        let found = length(dead);
        empty(report, DEAD, found, "What would be done: bdrctl redrive");
    }
    match attributes(operator, place.cleanup_failure_queue_url().await).await {
        Ok(failures) => {
            let advice = "Read them for the cause, then purge them: the next run does the work.";
            empty(report, FAILURES, length(&failures), advice);
        }
        Err(error) => report.not_checked(FAILURES, &error, NEEDS),
    }
}

async fn attributes(operator: &Operator, url: Result<String>) -> Result<Attributes> {
    let asked = operator.sqs().get_queue_attributes().queue_url(url?);
    let asked = asked.attribute_names(QueueAttributeName::All);
    let answer = asked.send().await.context("SQS does not say how the queue is set")?;
    answer.attributes.context("SQS does not say how the queue is set")
}

/// The queue's ARN.
pub(super) async fn arn(operator: &Operator, url: Result<String>) -> Result<String> {
    let arn = attributes(operator, url).await?.remove(&QueueAttributeName::QueueArn);
    arn.context("SQS does not say the queue's ARN")
}

/// A number among the attributes.
fn number(attributes: &Attributes, name: &QueueAttributeName) -> Option<i64> {
    attributes.get(name)?.parse().ok()
}

fn length(attributes: &Attributes) -> Option<i64> {
    let visible = number(attributes, &QueueAttributeName::ApproximateNumberOfMessages)?;
    let hidden = number(attributes, &QueueAttributeName::ApproximateNumberOfMessagesNotVisible)?;
    Some(visible + hidden)
}

fn empty(report: &mut Report, check: &'static str, found: Option<i64>, advice: &str) {
    match found {
        Some(0) => report.ok(check, "it is empty"),
        Some(1) => report.warning(check, "it holds a message", advice),
        Some(count) => report.warning(check, format!("it holds {count} messages"), advice),
        None => report.not_checked(check, &anyhow::anyhow!("SQS does not count"), NEEDS),
    }
}

async fn settings(operator: &Operator, report: &mut Report, queue: &Attributes, dead: &Attributes) {
    let policy = queue.get(&QueueAttributeName::RedrivePolicy);
    let policy: Value = policy.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let target = policy["deadLetterTargetArn"].as_str();
    let redriven =
        target.is_some() && target == dead.get(&QueueAttributeName::QueueArn).map(|arn| &**arn);
    let found = if redriven {
        "it redrives to the dead-letter queue"
    } else {
        "it does not redrive to the dead-letter queue"
    };
    report.must(redriven, QUEUE, found, DEPLOY);

    let retention = QueueAttributeName::MessageRetentionPeriod;
    let (kept, kept_dead) = (number(queue, &retention), number(dead, &retention));
    let longer = kept.zip(kept_dead).is_some_and(|(queue, dead)| dead > queue);
    let days = |seconds: Option<i64>| seconds.unwrap_or_default() / 86_400;
    let found =
        format!("it keeps messages for {} days, the queue for {}", days(kept_dead), days(kept));
    let advice = "An age counts from the first send: some are gone on arrival. Keep them longer.";
    report.must(longer, DEAD, found, advice);

    if let Err(error) = with_function(operator, report, queue, &policy).await {
        report.not_checked(QUEUE, &error, "Needs lambda:GetFunctionConfiguration.");
    }
}

/// What the queue and process-bdr-job must agree on.
async fn with_function(
    operator: &Operator,
    report: &mut Report,
    queue: &Attributes,
    policy: &Value,
) -> Result<()> {
    let function = configuration(operator, &operator.place.process_function().await?).await?;
    let timeout = i64::from(function.timeout.context("Lambda does not say the timeout")?);
    let visibility = number(queue, &QueueAttributeName::VisibilityTimeout);
    let visibility = visibility.context("SQS does not say the visibility timeout")?;
    let found = format!("its visibility timeout is {visibility} s, the function's {timeout} s");
    let advice =
        "It must not be the shorter one: a message would come twice while it is worked on.";
    report.must(visibility >= timeout, QUEUE, found, advice);

    // A number, or text, by who set it.
    let receives = policy["maxReceiveCount"].to_string().replace('"', "");
    let told = variables(&function).and_then(|all| all.get("MAX_RECEIVE_COUNT"));
    let told = told.map_or("not set", String::as_str);
    let found = format!("its maxReceiveCount is {receives}, MAX_RECEIVE_COUNT {told}");
    let advice = "They must be the same: the last attempt has to know that it is the last.";
    report.must(receives == told, QUEUE, found, advice);
    Ok(())
}
