//! `cleanup`: runs the cleanup now, and prints what it did.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::arguments::CleanupArguments;
use crate::operator::Operator;
use crate::output::{Printer, escaped, note, pairs};

/// Time limit of the invocation: 15 min (AWS Lambda, "Function timeout") and its start.
const LIMIT: Duration = Duration::from_secs(930);

/// Runs the tasks. Returns whether the run had no errors.
pub(crate) async fn run(
    operator: &Operator,
    arguments: &CleanupArguments,
    printer: Printer,
) -> Result<bool> {
    let function = operator.outputs.cleanup_function().await?;
    let event = if arguments.only.is_empty() { json!({}) } else { json!({"only": arguments.only}) };
    let answer = operator.invoke_once(&function, &event, LIMIT).await?;
    printer.result(&answer, || text(&answer))?;
    if answer["more"] == true {
        note(
            "The run ended before its deadline and left work. To continue, run `bdrctl cleanup` again.",
        );
    }
    Ok(answer["errors"].as_array().is_none_or(Vec::is_empty))
}

fn text(answer: &Value) -> String {
    let count = |name: &str| answer[name].to_string();
    let errors = answer["errors"].as_array().map_or(&[][..], Vec::as_slice);
    let counts = pairs([
        ("expired", count("cleaned_up")),
        ("stuck requests failed", count("rescued")),
        ("published again", count("republished")),
        ("orphans deleted", count("orphans_deleted")),
        ("unknown objects left", count("orphans_unknown")),
        ("rows purged", count("purged")),
        ("errors", errors.len().to_string()),
    ]);
    let errors = errors.iter().map(|error| {
        let text_of = |name: &str| escaped(error[name].as_str().unwrap_or_default());
        format!("\nerror: request {}: {}", text_of("bdr_id"), text_of("error"))
    });
    counts + &errors.collect::<String>()
}
