//! The canary: its function, schedule, request and last run. A stack without `CanaryRequestId` has none.

use anyhow::{Context as _, Result};
use shared::clock::Clock;
use shared::request::{Overview, RequestState};
use time::Duration;
use uuid::Uuid;

use super::diagnosis::{Diagnosis, plural};
use super::{functions, permissions, schedules};
use crate::function_log;
use crate::operator::Operator;
use crate::output::{escaped, time};

const CHECK: &str = "canary";
const FUNCTION: &str = "run-canary";
/// The required variables of run-canary.
const VARIABLES: &[&str] = &["VAULT_BUCKET", "BDR_QUEUE_URL", "CANARY_REQUEST_ID"];
/// Time without a run after which `CanaryAlarm` is raised.
const LATE: Duration = Duration::hours(2);
/// What to do if the request cannot be repeated.
const NEW_REQUEST: &str = "On the canary's account request a new download, and pass its id as \
                           CanaryRequestId (deployment guide, \"Run a canary\").";

pub(super) async fn check(operator: &Operator, diagnosis: &mut Diagnosis) {
    let parameter = operator.outputs.parameter("CanaryRequestId").await;
    let id = match parameter.and_then(|id| parsed(id.as_deref())) {
        Ok(Some(id)) => id,
        Ok(None) => return,
        Err(error) => {
            return diagnosis.not_checked(CHECK, &error, "Allow cloudformation:DescribeStacks.");
        }
    };
    if let Err(error) = function(operator, diagnosis).await {
        diagnosis.not_checked(
            FUNCTION,
            &error,
            "To check it, allow lambda:GetFunctionConfiguration.",
        );
    }
    match schedules::enabled(operator, name(operator).await).await {
        Ok(enabled) => {
            let found =
                if enabled > 0 { "its schedule is enabled" } else { "its schedule is not enabled" };
            let advice = "Enable it in EventBridge Scheduler, or deploy template.yaml again.";
            diagnosis.require(enabled > 0, CHECK, found, advice);
        }
        Err(error) => {
            let advice = "To check its schedule, allow scheduler:ListSchedules and \
                          lambda:GetFunctionConfiguration.";
            diagnosis.not_checked(CHECK, &error, advice);
        }
    }
    match find(operator, id).await {
        Ok(row) => request(diagnosis, id, row.as_ref()),
        Err(error) => {
            let advice = "Connect as a role with the privileges of the functions' role.";
            diagnosis.not_checked(CHECK, &error, advice);
        }
    }
    if let Err(error) = last_run(operator, diagnosis, id).await {
        diagnosis.not_checked(CHECK, &error, "To check its runs, allow logs:FilterLogEvents.");
    }
}

/// Parses the parameter. Empty, there is no canary.
fn parsed(id: Option<&str>) -> Result<Option<Uuid>> {
    let id = id.filter(|id| !id.is_empty()).map(Uuid::parse_str);
    id.transpose().context("CanaryRequestId is not the id of a request")
}

async fn name(operator: &Operator) -> Result<String> {
    let name = operator.outputs.canary_function().await?;
    name.with_context(|| format!("stack {} has no canary", operator.outputs.stack()))
}

/// Checks the function and its role.
async fn function(operator: &Operator, diagnosis: &mut Diagnosis) -> Result<()> {
    let name = name(operator).await?;
    functions::one(operator, diagnosis, FUNCTION, Ok(name.clone()), VARIABLES).await?;
    permissions::one(operator, diagnosis, FUNCTION, Ok(name), permissions::CANARY).await;
    Ok(())
}

async fn find(operator: &Operator, id: Uuid) -> Result<Option<Overview>> {
    Ok(operator.requests().await?.find(id).await?)
}

fn request(diagnosis: &mut Diagnosis, id: Uuid, row: Option<&Overview>) {
    let Some(row) = row else {
        return diagnosis.error(CHECK, format!("request {id} does not exist"), NEW_REQUEST);
    };
    let artworks = row.artworks.and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
    let artworks = plural(artworks, "artwork");
    let user = row.user_id.map_or_else(|| "no user".to_owned(), |id| format!("user {id}"));
    let status = &row.status;
    let found = format!("request {id} of {user} with {artworks} is {status}");
    match RequestState::parse(status) {
        Some(RequestState::Expired) | None => diagnosis.error(CHECK, found, NEW_REQUEST),
        Some(RequestState::Failed) => {
            let advice =
                format!("The next run repeats it. To find the cause, run `bdrctl log {id}`.");
            diagnosis.warning(CHECK, found, &advice);
        }
        Some(_) => diagnosis.ok(CHECK, found),
    }
}

/// Checks the result of the last run, which its outcome line has.
async fn last_run(operator: &Operator, diagnosis: &mut Diagnosis, id: Uuid) -> Result<()> {
    let group = operator.outputs.canary_log_group().await?;
    let group = group.context("the stack has no log group of run-canary")?;
    let begin = Clock::system().now() - LATE;
    let lines = function_log::read(&operator.connection.aws, &group, id, begin).await?;
    let runs = lines.iter().filter(|line| line.event.get("result").is_some());
    let Some(last) = runs.max_by_key(|line| line.time) else {
        let advice = "Read the errors in its log group. On a new stack it runs within an hour.";
        diagnosis.warning(CHECK, "did not run in the last 2 hours", advice);
        return Ok(());
    };
    let at = time(Some(last.time));
    if last.event["result"] == "success" {
        diagnosis.ok(CHECK, format!("the run at {at} succeeded"));
    } else {
        let reason = escaped(last.event["reason"].as_str().unwrap_or("no reason"));
        let advice = "Follow the runbook, \"The canary fails\".";
        diagnosis.error(CHECK, format!("the run at {at} failed: {reason}"), advice);
    }
    Ok(())
}
