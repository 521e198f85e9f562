//! `erase`: the call by which the API deletes what the vault has of a request or of a user.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::advised::Advised;
use crate::arguments::EraseArguments;
use crate::operator::Operator;
use crate::output::{self, Printer, note};

/// What cleanup-expired-bdrs answers to an erasure.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Erasure {
    closed: u64,
    erased: u64,
    aborted_uploads: u64,
    more: bool,
    errors: Option<Vec<ObjectError>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ObjectError {
    key: String,
    error: String,
}

/// Erases after confirmation, and repeats the call until no work is left.
pub(crate) async fn run(
    operator: &Operator,
    arguments: &EraseArguments,
    printer: Printer,
) -> Result<bool> {
    let (target, question) = match (&arguments.user, arguments.bdr_id) {
        (Some(user), _) => (
            json!({"user_sqid": user}),
            format!("Delete all archives of artist {user}? No command restores them."),
        ),
        (None, Some(bdr_id)) => (
            json!({"bdr_id": bdr_id}),
            format!("Delete the archive of {bdr_id}? No command restores it."),
        ),
        (None, None) => bail!("Specify a request id, or --user"),
    };
    if !arguments.yes {
        match output::confirm(&question)? {
            Some(true) => {}
            Some(false) => bail!("not confirmed: nothing was deleted"),
            None => bail!(Advised::new(
                "nothing was deleted: no answer to the question",
                "To delete without confirmation, add --yes.",
            )),
        }
    }
    let erasure = erase(operator, &json!({ "erase": target })).await?;
    printer.result(&erasure, || text(&erasure))?;
    let errors = erasure.errors.unwrap_or_default();
    for ObjectError { key, error } in &errors {
        note(&format!("{key}: {error}"));
    }
    Ok(errors.is_empty())
}

/// Invokes the function until it reports no further work. Returns the sums.
async fn erase(operator: &Operator, event: &serde_json::Value) -> Result<Erasure> {
    let function = operator.outputs.cleanup_function().await?;
    let mut total = Erasure::default();
    loop {
        let answer = operator.invoke(&function, event).await?;
        let answer: Erasure = serde_json::from_value(answer)?;
        total.closed += answer.closed;
        total.erased += answer.erased;
        total.aborted_uploads += answer.aborted_uploads;
        // Those of the last call: a later call tries them again.
        total.errors = answer.errors;
        if !answer.more {
            return Ok(total);
        }
    }
}

fn text(erasure: &Erasure) -> String {
    let counted =
        |count: u64, name: &str| format!("{count} {name}{}", if count == 1 { "" } else { "s" });
    format!(
        "Deleted {} and aborted {}. Closed {}.",
        counted(erasure.erased, "object"),
        counted(erasure.aborted_uploads, "upload"),
        counted(erasure.closed, "request"),
    )
}
