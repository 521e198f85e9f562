//! The functions: that they can start, are told what they must be, and take the queue's messages.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use serde_json::json;
use uuid::Uuid;

use super::finding::Report;
use crate::operator::Operator;

/// What a function must be told beside the database, which each needs.
const PROCESS: &[&str] = &[
    "VAULT_BUCKET",
    "BDR_QUEUE_URL",
    "BASE_URL",
    "MAX_RECEIVE_COUNT",
    "EXPIRES_AFTER_DAYS",
    "LEASE_SECONDS",
];
const CLEANUP: &[&str] = &["VAULT_BUCKET", "BDR_QUEUE_URL"];
const PRESIGN: &[&str] = &["VAULT_BUCKET", "DOWNLOAD_URL_TTL_SECONDS"];
const DEPLOY: &str = "Deploy template.yaml again.";

pub(super) async fn check(operator: &Operator, report: &mut Report) {
    let place = &operator.place;
    for (check, name, variables) in [
        ("process-bdr-job", place.process_function().await, PROCESS),
        ("cleanup-expired-bdrs", place.cleanup_function().await, CLEANUP),
        ("presign-bdr-download", place.presign_function().await, PRESIGN),
    ] {
        if let Err(error) = one(operator, report, check, name, variables).await {
            report.not_checked(check, &error, "Needs lambda:GetFunctionConfiguration.");
        }
    }
    if let Err(error) = event_source(operator, report).await {
        let advice = "Needs lambda:ListEventSourceMappings.";
        report.not_checked("event source", &error, advice);
    }
    invocation(operator, report).await;
}

/// What Lambda knows of a function.
pub(super) async fn configuration(
    operator: &Operator,
    name: &str,
) -> Result<GetFunctionConfigurationOutput> {
    let asked = operator.lambda.get_function_configuration().function_name(name);
    asked.send().await.with_context(|| format!("Lambda says nothing of {name}"))
}

/// Its environment.
pub(super) fn variables(
    configuration: &GetFunctionConfigurationOutput,
) -> Option<&HashMap<String, String>> {
    configuration.environment.as_ref()?.variables.as_ref()
}

async fn one(
    operator: &Operator,
    report: &mut Report,
    check: &'static str,
    name: Result<String>,
    needed: &[&str],
) -> Result<()> {
    let configuration = configuration(operator, &name?).await?;
    let state = configuration.state.as_ref().map_or("unknown", |state| state.as_str());
    let running = ["Active", "Inactive"].contains(&state); // inactive: not asked for long
    report.must(running, check, format!("its state is {state}"), DEPLOY);

    let none = HashMap::new();
    let variables = variables(&configuration).unwrap_or(&none);
    let is_set = |name: &str| variables.get(name).is_some_and(|value| !value.is_empty());
    let mut missing: Vec<&str> = needed.iter().copied().filter(|name| !is_set(name)).collect();
    match ["DATABASE_URL", "DATABASE_SECRET_ARN"].map(is_set) {
        [false, false] => missing.push("DATABASE_URL or DATABASE_SECRET_ARN"),
        [true, true] => {
            let found = "DATABASE_URL and DATABASE_SECRET_ARN are both set";
            report.error(check, found, "It refuses to start: give one.");
        }
        _ => {}
    }
    if missing.is_empty() {
        report.ok(check, "its environment is complete");
    } else {
        report.error(check, format!("it is not told {}", missing.join(", ")), DEPLOY);
    }
    for (variable, wanted) in [
        ("BDR_QUEUE_URL", operator.place.queue_url().await?),
        ("VAULT_BUCKET", operator.place.bucket().await?),
    ] {
        if let Some(told) = variables.get(variable).filter(|told| **told != wanted) {
            let found = format!("its {variable} is {told}, not {wanted}");
            report.error(check, found, DEPLOY);
        }
    }
    if is_set("REMOTE_ALLOW_HOSTS") {
        let advice = "Empty it in production: it opens a way into the function's own network.";
        report.warning(check, "REMOTE_ALLOW_HOSTS is set", advice);
    }
    Ok(())
}

async fn event_source(operator: &Operator, report: &mut Report) -> Result<()> {
    const CHECK: &str = "event source";
    let name = operator.place.process_function().await?;
    let asked = operator.lambda.list_event_source_mappings().function_name(&name);
    let answer = asked.send().await.context("Lambda does not list event sources")?;
    let sources = answer.event_source_mappings();
    let queue = operator.place.queue_url().await?;
    let queue = queue.rsplit('/').next().unwrap_or_default();
    let source = sources.iter().find(|source| {
        source.event_source_arn().is_some_and(|arn| arn.rsplit(':').next() == Some(queue))
    });
    let Some(source) = source else {
        report.error(CHECK, format!("{name} takes no messages of {queue}"), DEPLOY);
        return Ok(());
    };
    let state = source.state().unwrap_or("unknown");
    let advice = "Requests wait. aws lambda update-event-source-mapping --enabled --uuid … \
                  (Runbook, \"The database is down\").";
    let on = ["Enabled", "Enabling", "Updating", "Creating"].contains(&state);
    report.must(on, CHECK, format!("its state is {state}"), advice);
    let types = source.function_response_types();
    let reports = types.iter().any(|kind| kind.as_str() == "ReportBatchItemFailures");
    let found = format!(
        "it {} ReportBatchItemFailures",
        if reports { "is told of" } else { "is not told of" }
    );
    report.must(reports, CHECK, found, "Without it a failed attempt counts as done.");
    let size = source.batch_size().unwrap_or_default();
    if size != 1 {
        let advice = "With 1 a crash does not use up the receives of its neighbours.";
        report.warning(CHECK, format!("its batch size is {size}"), advice);
    }
    Ok(())
}

/// Asks for the download of no request, which shows that a function starts, and reaches the database
/// with its own rights.
async fn invocation(operator: &Operator, report: &mut Report) {
    const CHECK: &str = "presign-bdr-download";
    let answer = async {
        let name = operator.place.presign_function().await?;
        operator.invoke(&name, &json!({"bdr_id": Uuid::nil(), "user_id": 0})).await
    };
    match answer.await {
        Ok(answer) if answer["status"] == "not_found" => {
            report.ok(CHECK, "it starts, and reaches the database with its own rights");
        }
        Ok(_) => report.error(CHECK, "it answers what it should not", DEPLOY),
        Err(error) if error.chain().count() == 1 => {
            let advice = "Its log says more. Mostly the database, its secret or the network.";
            report.error(CHECK, error, advice);
        }
        Err(error) => report.not_checked(CHECK, &error, "Needs lambda:InvokeFunction."),
    }
}
