//! `log`: what the functions logged about a request, from CloudWatch Logs.

use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value};
use shared::clock::Clock;
use time::OffsetDateTime;

use crate::arguments::LogArguments;
use crate::function_log::{self, LogEvent};
use crate::operator::Operator;
use crate::output::{Printer, escaped, time};

/// Fields that every line has, and that the text shows in another form or not at all.
const COMMON: [&str; 11] = [
    "timestamp",
    "level",
    "message",
    "requestId",
    "xrayTraceId",
    "bdr_id",
    "receive_count",
    "version",
    "error",
    "target",
    "name",
];

/// A line of a function's log.
#[derive(Debug, Serialize)]
struct LogLine {
    #[serde(with = "time::serde::rfc3339")]
    time: OffsetDateTime,
    function: &'static str,
    /// The line: an object, or text if it is not JSON.
    event: Value,
}

/// Prints the lines about a request in the order of their times.
pub(crate) async fn run(
    operator: &Operator,
    arguments: &LogArguments,
    printer: Printer,
) -> Result<bool> {
    let bdr_id = arguments.bdr_id;
    let outputs = &operator.outputs;
    let begin = Clock::system().now() - arguments.since;
    let mut lines = Vec::new();
    for (function, group) in [
        ("process-bdr-job", Some(outputs.process_log_group().await?)),
        ("cleanup-expired-bdrs", Some(outputs.cleanup_log_group().await?)),
        ("presign-bdr-download", Some(outputs.presign_log_group().await?)),
        ("run-canary", outputs.canary_log_group().await?),
    ] {
        let Some(group) = group else { continue };
        let read = function_log::read(&operator.connection.aws, &group, bdr_id, begin).await?;
        let line = |LogEvent { time, event }| LogLine { time, function, event };
        lines.extend(read.into_iter().map(line));
    }
    if lines.is_empty() {
        let since = humantime::format_duration(arguments.since);
        printer
            .empty(&format!("No line about request {bdr_id} in the logs of the last {since}."))?;
        return Ok(true);
    }
    lines.sort_by_key(|line| line.time);
    for line in &lines {
        printer.line(line, || line.text())?;
    }
    Ok(true)
}

impl LogLine {
    /// Formats the line: time, level, function, attempt, message and fields; the error below it.
    fn text(&self) -> String {
        let begin = format!("{}  ", time(Some(self.time)));
        let Value::Object(fields) = &self.event else {
            return format!("{begin}{}: {}", self.function, plain(&self.event));
        };
        let field = |name: &str| fields.get(name).map(plain);
        let level = field("level").unwrap_or_default();
        let attempt = field("receive_count").map(|n| format!(", attempt {n}")).unwrap_or_default();
        let message = field("message").unwrap_or_default();
        // Messages begin with `BDR <id>: `, for a search.
        let message = message.strip_prefix("BDR ").and_then(|rest| rest.split_once(": "));
        let message =
            message.map_or_else(|| field("message").unwrap_or_default(), |it| it.1.to_owned());
        let details = details(fields);
        let error = field("error").map(|error| format!("\n  error: {error}")).unwrap_or_default();
        format!("{begin}{level:<5}  {}{attempt}: {message}{details}{error}", self.function)
    }
}

/// Formats the fields that only some lines have, the result first.
fn details(fields: &Map<String, Value>) -> String {
    let fields = fields.iter().filter(|(name, value)| {
        !COMMON.contains(&name.as_str()) && !value.is_null() && !value.is_object()
    });
    let mut fields: Vec<_> = fields.collect();
    fields.sort_by_key(|(name, _)| *name != "result");
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| format!("{}={}", escaped(name), plain(value)))
        .collect();
    if fields.is_empty() { String::new() } else { format!(" ({})", fields.join(", ")) }
}

/// Formats a value without quotation marks.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => escaped(text),
        value => escaped(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::LogLine;

    #[test]
    fn a_line_shows_what_happened_and_the_error() {
        let line = |event| LogLine {
            time: datetime!(2026-11-30 17:45:59 UTC),
            function: "process-bdr-job",
            event,
        };
        let event = json!({
            "timestamp": "2026-11-30T17:45:59Z", "level": "WARN", "receive_count": 2, "bdr_id": "x",
            "message": "BDR x: attempt failed; another one follows", "result": "retried",
            "error": "failed to load: timed\u{1b}out", "requestId": "r", "artworks": null,
        });
        assert_eq!(
            line(event).text(),
            "2026-11-30 17:45:59Z  WARN   process-bdr-job, attempt 2: attempt failed; another one \
             follows (result=retried)\n  error: failed to load: timed\\u{1b}out"
        );
        assert_eq!(
            line(json!("Task timed out")).text(),
            "2026-11-30 17:45:59Z  process-bdr-job: Task timed out"
        );
    }
}
