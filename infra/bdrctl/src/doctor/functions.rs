//! The functions: their state, environment and event source, and one invocation.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use aws_sdk_lambda::operation::list_event_source_mappings::ListEventSourceMappingsError;
use aws_sdk_lambda::types::EventSourceMappingConfiguration;
use serde_json::json;
use uuid::Uuid;

use super::diagnosis::Diagnosis;
use crate::error_kind::ErrorKind;
use crate::operator::Operator;

/// The required variables of process-bdr-job. Each function also needs the database.
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

pub(super) async fn check(operator: &Operator, diagnosis: &mut Diagnosis) {
    let outputs = &operator.outputs;
    for (check, name, variables) in [
        ("process-bdr-job", outputs.process_function().await, PROCESS),
        ("cleanup-expired-bdrs", outputs.cleanup_function().await, CLEANUP),
        ("presign-bdr-download", outputs.presign_function().await, PRESIGN),
    ] {
        if let Err(error) = one(operator, diagnosis, check, name, variables).await {
            diagnosis.not_checked(
                check,
                &error,
                "To check it, allow lambda:GetFunctionConfiguration.",
            );
        }
    }
    if let Err(error) = event_source(operator, diagnosis).await {
        let advice = "To check it, allow lambda:ListEventSourceMappings.";
        diagnosis.not_checked("event source", &error, advice);
    }
    invocation(operator, diagnosis).await;
}

/// Reads the configuration of a function.
pub(super) async fn configuration(
    operator: &Operator,
    name: &str,
) -> Result<GetFunctionConfigurationOutput> {
    let call = operator.lambda.get_function_configuration().function_name(name);
    call.send().await.with_context(|| format!("cannot read the configuration of {name}"))
}

/// Returns the environment of a function.
pub(super) fn variables(
    configuration: &GetFunctionConfigurationOutput,
) -> Option<&HashMap<String, String>> {
    configuration.environment.as_ref()?.variables.as_ref()
}

/// Checks the state and the environment of a function.
pub(super) async fn one(
    operator: &Operator,
    diagnosis: &mut Diagnosis,
    check: &'static str,
    name: Result<String>,
    required: &[&str],
) -> Result<()> {
    let configuration = configuration(operator, &name?).await?;
    let state = configuration.state.as_ref().map_or("unknown", |state| state.as_str());
    let running = ["Active", "Inactive"].contains(&state); // Lambda reclaims an idle function: Inactive
    diagnosis.require(running, check, format!("state is {state}"), DEPLOY);

    let none = HashMap::new();
    let variables = variables(&configuration).unwrap_or(&none);
    let is_set = |name: &str| variables.get(name).is_some_and(|value| !value.is_empty());
    let mut missing: Vec<&str> = required.iter().copied().filter(|name| !is_set(name)).collect();
    match ["DATABASE_URL", "DATABASE_SECRET_ARN"].map(is_set) {
        [false, false] => missing.push("DATABASE_URL or DATABASE_SECRET_ARN"),
        [true, true] => {
            let found = "DATABASE_URL and DATABASE_SECRET_ARN are both set";
            diagnosis.error(check, found, "The function does not start. Set only one.");
        }
        _ => {}
    }
    if missing.is_empty() {
        diagnosis.ok(check, "environment is complete");
    } else {
        diagnosis.error(check, format!("environment lacks {}", missing.join(", ")), DEPLOY);
    }
    for (variable, expected) in [
        ("BDR_QUEUE_URL", operator.outputs.queue_url().await?),
        ("VAULT_BUCKET", operator.outputs.bucket().await?),
    ] {
        if let Some(value) = variables.get(variable).filter(|value| **value != expected) {
            let found = format!("{variable} is {value}, not {expected}");
            diagnosis.error(check, found, DEPLOY);
        }
    }
    if is_set("REMOTE_ALLOW_HOSTS") {
        let advice = "Empty it in production: it allows requests into the function's network.";
        diagnosis.warning(check, "REMOTE_ALLOW_HOSTS is set", advice);
    }
    Ok(())
}

async fn event_source(operator: &Operator, diagnosis: &mut Diagnosis) -> Result<()> {
    const CHECK: &str = "event source";
    let name = operator.outputs.process_function().await?;
    let queue = operator.outputs.queue_url().await?;
    let queue = queue.rsplit('/').next().unwrap_or_default();
    // With `Release` the event source invokes the alias.
    let source = match source_of(operator, &name, queue).await? {
        None => source_of(operator, &format!("{name}:live"), queue).await?,
        source => source,
    };
    let Some(source) = source else {
        diagnosis.error(CHECK, format!("{name} has no event source for the queue {queue}"), DEPLOY);
        return Ok(());
    };
    let state = source.state().unwrap_or("unknown");
    let advice = "Requests wait. To enable it, run `aws lambda update-event-source-mapping --enabled \
                  --uuid …` (runbook, \"The database is down\").";
    let on = ["Enabled", "Enabling", "Updating", "Creating"].contains(&state);
    diagnosis.require(on, CHECK, format!("state is {state}"), advice);
    let types = source.function_response_types();
    let reports = types.iter().any(|kind| kind.as_str() == "ReportBatchItemFailures");
    let found = if reports {
        "ReportBatchItemFailures is enabled"
    } else {
        "ReportBatchItemFailures is not enabled"
    };
    diagnosis.require(
        reports,
        CHECK,
        found,
        "Enable it: without it, Lambda deletes the message of a failed attempt.",
    );
    let size = source.batch_size().unwrap_or_default();
    if size != 1 {
        let advice = "Set it to 1: a crash uses up a receive of each message in its batch.";
        diagnosis.warning(CHECK, format!("batch size is {size}"), advice);
    }
    Ok(())
}

/// Returns the event source of a function, or of an alias of it, for the queue of this name.
async fn source_of(
    operator: &Operator,
    function: &str,
    queue: &str,
) -> Result<Option<EventSourceMappingConfiguration>> {
    let is_absent = ListEventSourceMappingsError::is_resource_not_found_exception;
    let call = operator.lambda.list_event_source_mappings().function_name(function);
    let response = match call.send().await {
        // Lambda's answer for an alias that does not exist.
        Err(error) if error.as_service_error().is_some_and(is_absent) => return Ok(None),
        response => response.context("cannot list event sources")?,
    };
    let is_of_queue = |source: &EventSourceMappingConfiguration| {
        source.event_source_arn().is_some_and(|arn| arn.rsplit(':').next() == Some(queue))
    };
    Ok(response.event_source_mappings.unwrap_or_default().into_iter().find(is_of_queue))
}

/// Invokes presign-bdr-download for a request that does not exist: the function must start and read the
/// database as its own role.
async fn invocation(operator: &Operator, diagnosis: &mut Diagnosis) {
    const CHECK: &str = "presign-bdr-download";
    let response = async {
        let name = operator.outputs.presign_function().await?;
        operator.invoke(&name, &json!({"bdr_id": Uuid::nil(), "user_id": 0})).await
    };
    match response.await {
        Ok(response) if response["status"] == "not_found" => {
            diagnosis.ok(CHECK, "starts and reads the database");
        }
        Ok(_) => diagnosis.error(CHECK, "returned an unexpected response", DEPLOY),
        Err(error) if error.chain().count() == 1 && ErrorKind::of(&error) == ErrorKind::Failed => {
            let advice =
                "Read its log. Common causes are the database, its secret and the network.";
            diagnosis.error(CHECK, error, advice);
        }
        Err(error) => {
            diagnosis.not_checked(CHECK, &error, "To check it, allow lambda:InvokeFunction.");
        }
    }
}
