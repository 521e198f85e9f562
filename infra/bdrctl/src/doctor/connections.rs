//! The connection limit of the functions' role, which keeps a burst of downloads from taking all connections
//! of the site's database.

use anyhow::{Context as _, Result};
use shared::database::{column, limited};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::diagnosis::Diagnosis;
use crate::operator::Operator;

const CHECK: &str = "connections";
/// A limit, -1 without one (PostgreSQL, `pg_roles`).
const LIMIT: &str = "SELECT r.rolconnlimit AS connections FROM pg_roles AS r WHERE r.rolname = $1";
/// The cleanup runs once at a time, apart from an operator's own run.
const CLEANUP: i32 = 1;

/// Checks that the role has a limit, and that it suffices for what runs at once: each instance of a function
/// holds one connection.
pub(super) async fn check(
    operator: &Operator,
    client: &Client,
    diagnosis: &mut Diagnosis,
    role: &str,
) {
    let limit = async {
        let rows = limited(client.query_typed(LIMIT, &[(&role, Type::TEXT)])).await?;
        rows.first().map(|row| column::<i32>(row, "connections")).transpose()
    };
    let limit = match limit.await {
        Ok(Some(limit)) => limit,
        // Another check reports a role that does not exist.
        Ok(None) => return,
        Err(error) => {
            return diagnosis.not_checked(CHECK, &error.into(), "Run `bdrctl doctor` again.");
        }
    };
    match needed(operator).await {
        Ok(needed) => compare(diagnosis, role, limit, &needed),
        Err(error) => {
            let advice = "To check it, allow cloudformation:DescribeStacks.";
            diagnosis.not_checked(CHECK, &error, advice);
        }
    }
}

/// The instances that run at once.
struct Instances {
    process: i32,
    presign: i32,
}

async fn needed(operator: &Operator) -> Result<Instances> {
    let process = operator.outputs.parameter("MaximumConcurrency").await?;
    let process = process.and_then(|value| value.parse().ok());
    let presign = operator.outputs.parameter("PresignConcurrency").await?;
    // Without a reservation (0), any number of downloads may run at once.
    let presign = presign.and_then(|value| value.parse::<i32>().ok()).unwrap_or_default().max(1);
    let process = process.context("the stack has no parameter MaximumConcurrency")?;
    Ok(Instances { process, presign })
}

fn compare(diagnosis: &mut Diagnosis, role: &str, limit: i32, instances: &Instances) {
    let needed = instances.process.saturating_add(instances.presign).saturating_add(CLEANUP);
    let advice = format!(
        "As a role that may alter it, run `ALTER ROLE {role} CONNECTION LIMIT {}`, or apply the adapter with `-v \
         connection_limit={0}`.",
        needed.saturating_mul(2),
    );
    if limit < 0 {
        let found = format!(
            "role {role} has no connection limit: a burst of downloads may take all connections of the \
             database"
        );
        diagnosis.warning(CHECK, found, &advice);
    } else if limit < needed {
        let found = format!(
            "role {role} may have {limit} connections, the functions need {needed}: MaximumConcurrency ({}), \
             downloads ({}) and a cleanup",
            instances.process, instances.presign,
        );
        diagnosis.warning(CHECK, found, &advice);
    } else {
        diagnosis.ok(CHECK, format!("role {role} may have {limit}, the functions need {needed}"));
    }
}
