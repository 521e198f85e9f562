//! `doctor`: checks a deployment without changing it. A check that cannot run is reported as not
//! checked, never as ok.

mod canary;
mod clock;
mod connections;
mod database;
mod diagnosis;
mod email;
mod functions;
mod parameters;
mod permissions;
mod queues;
mod schedules;
mod suppression;
mod vault;

use anyhow::Result;

use crate::arguments::DoctorArguments;
use crate::operator::Operator;
use crate::output::Printer;
use diagnosis::{Diagnosis, Level};

/// Runs all checks. Returns whether none found an error.
pub(crate) async fn run(
    operator: &Operator,
    arguments: &DoctorArguments,
    printer: Printer,
) -> Result<bool> {
    let mut diagnosis = Diagnosis::default();
    diagnosis.stack(&operator.outputs.queue_url().await);
    parameters::check(operator, arguments, &mut diagnosis).await;
    functions::check(operator, &mut diagnosis).await;
    permissions::check(operator, &mut diagnosis).await;
    queues::check(operator, &mut diagnosis).await;
    schedules::check(operator, &mut diagnosis).await;
    vault::check(operator, &mut diagnosis).await;
    email::check(operator, &mut diagnosis).await;
    database::check(operator, &mut diagnosis).await;
    canary::check(operator, &mut diagnosis).await;
    printer
        .result(&diagnosis.findings, || diagnosis.text(arguments.all, console::colors_enabled()))?;
    Ok(diagnosis.count(Level::Error) == 0)
}
