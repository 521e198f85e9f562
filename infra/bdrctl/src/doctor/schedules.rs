//! The schedules of functions.

use anyhow::{Context as _, Result};
use aws_sdk_scheduler::types::ScheduleState;

use super::diagnosis::Diagnosis;
use super::functions::configuration;
use crate::operator::Operator;

const CHECK: &str = "schedules";
/// A daily and an hourly schedule.
const EXPECTED: usize = 2;

pub(super) async fn check(operator: &Operator, diagnosis: &mut Diagnosis) {
    match enabled(operator, operator.outputs.cleanup_function().await).await {
        Err(error) => {
            let advice = "To check it, allow scheduler:ListSchedules and \
                          lambda:GetFunctionConfiguration.";
            diagnosis.not_checked(CHECK, &error, advice);
        }
        Ok(enabled) => {
            let found = format!("{enabled} of {EXPECTED} cleanup schedules are enabled");
            let advice = "Expired archives and stuck requests remain. Enable the schedules in \
                          EventBridge Scheduler, or deploy template.yaml again.";
            diagnosis.require(enabled >= EXPECTED, CHECK, found, advice);
        }
    }
}

/// Returns the number of enabled schedules that invoke a function.
pub(super) async fn enabled(operator: &Operator, function: Result<String>) -> Result<usize> {
    let name = function?;
    let function = configuration(operator, &name).await?;
    let arn = function.function_arn.with_context(|| format!("Lambda returned no ARN of {name}"))?;
    let scheduler = aws_sdk_scheduler::Client::new(&operator.connection.aws);
    let mut pages = scheduler.list_schedules().into_paginator().items().send();
    let mut enabled = 0;
    while let Some(schedule) = pages.next().await {
        let schedule = schedule.context("cannot list schedules")?;
        // With `Release` the schedules of the cleanup invoke the alias, whose ARN continues that of the
        // function.
        let invokes = schedule
            .target
            .is_some_and(|target| target.arn.strip_suffix(":live").unwrap_or(&target.arn) == arn);
        enabled += usize::from(invokes && schedule.state == Some(ScheduleState::Enabled));
    }
    Ok(enabled)
}
