//! `doctor`: looks at a deployment, changes nothing, and says of each thing whether it is as it must
//! be. What cannot be looked at is said to be so, and never to be well.

mod clock;
mod database;
mod email;
mod finding;
mod functions;
mod permissions;
mod queues;
mod schedules;
mod vault;

use anyhow::Result;

use crate::operator::Operator;
use crate::output::Output;
use finding::{Level, Report, reason};

/// Checks everything; fails when something is wrong.
pub(crate) async fn run(operator: &Operator, output: Output) -> Result<bool> {
    let mut report = Report::default();
    match operator.place.queue_url().await {
        Ok(_) => report.ok("stack", "it says where everything is"),
        Err(error) => report.error("stack", reason(&error), "Most of what follows depends on it."),
    }
    functions::check(operator, &mut report).await;
    permissions::check(operator, &mut report).await;
    queues::check(operator, &mut report).await;
    schedules::check(operator, &mut report).await;
    vault::check(operator, &mut report).await;
    email::check(operator, &mut report).await;
    database::check(operator, &mut report).await;
    output.result(&report.findings, || report.text())?;
    Ok(report.count(Level::Error) == 0)
}
