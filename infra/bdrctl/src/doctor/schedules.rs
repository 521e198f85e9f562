//! The schedules of the cleanup.

use anyhow::{Context as _, Result};
use aws_sdk_scheduler::types::ScheduleState;

use super::finding::Report;
use super::functions::configuration;
use crate::operator::Operator;

const CHECK: &str = "schedules";
/// Daily and hourly.
const WANTED: usize = 2;

pub(super) async fn check(operator: &Operator, report: &mut Report) {
    match states(operator).await {
        Err(error) => {
            let advice = "Needs scheduler:ListSchedules and lambda:GetFunctionConfiguration.";
            report.not_checked(CHECK, &error, advice);
        }
        Ok(states) => {
            let enabled = states.iter().filter(|state| **state == ScheduleState::Enabled).count();
            let found = format!("{enabled} of the cleanup's {WANTED} are enabled");
            let advice = "Archives outlive their time, and stuck requests stay so. Enable them in \
                          EventBridge Scheduler, or deploy template.yaml again.";
            report.must(enabled >= WANTED, CHECK, found, advice);
        }
    }
}

/// The states of the schedules that invoke the cleanup.
async fn states(operator: &Operator) -> Result<Vec<ScheduleState>> {
    let cleanup = operator.place.cleanup_function().await?;
    let cleanup = configuration(operator, &cleanup).await?;
    let arn = cleanup.function_arn.context("Lambda does not say the cleanup's ARN")?;
    let scheduler = aws_sdk_scheduler::Client::new(&operator.reached.aws);
    let mut pages = scheduler.list_schedules().into_paginator().items().send();
    let mut states = Vec::new();
    while let Some(schedule) = pages.next().await {
        let schedule = schedule.context("Scheduler does not list schedules")?;
        if schedule.target.is_some_and(|target| target.arn == arn) {
            states.extend(schedule.state);
        }
    }
    Ok(states)
}
