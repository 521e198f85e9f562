//! The schedules of the cleanup.

use anyhow::{Context as _, Result};
use aws_sdk_scheduler::types::ScheduleState;

use super::diagnosis::Diagnosis;
use super::functions::configuration;
use crate::operator::Operator;

const CHECK: &str = "schedules";
/// A daily and an hourly schedule.
const EXPECTED: usize = 2;

pub(super) async fn check(operator: &Operator, diagnosis: &mut Diagnosis) {
    match states(operator).await {
        Err(error) => {
            let advice = "To check it, allow scheduler:ListSchedules and \
                          lambda:GetFunctionConfiguration.";
            diagnosis.not_checked(CHECK, &error, advice);
        }
        Ok(states) => {
            let enabled = states.iter().filter(|state| **state == ScheduleState::Enabled).count();
            let found = format!("{enabled} of {EXPECTED} cleanup schedules are enabled");
            let advice = "Expired archives and stuck requests remain. Enable the schedules in \
                          EventBridge Scheduler, or deploy template.yaml again.";
            diagnosis.require(enabled >= EXPECTED, CHECK, found, advice);
        }
    }
}

/// Returns the states of the schedules that invoke the cleanup.
async fn states(operator: &Operator) -> Result<Vec<ScheduleState>> {
    let cleanup = operator.outputs.cleanup_function().await?;
    let cleanup = configuration(operator, &cleanup).await?;
    let arn = cleanup.function_arn.context("Lambda returned no ARN of the cleanup")?;
    let scheduler = aws_sdk_scheduler::Client::new(&operator.connection.aws);
    let mut pages = scheduler.list_schedules().into_paginator().items().send();
    let mut states = Vec::new();
    while let Some(schedule) = pages.next().await {
        let schedule = schedule.context("cannot list schedules")?;
        if schedule.target.is_some_and(|target| target.arn == arn) {
            states.extend(schedule.state);
        }
    }
    Ok(states)
}
