//! Output: tables for people, JSON for scripts.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _, stderr, stdout};
use std::time::Duration;

use anyhow::Result;
use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::advised::advice;

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");

/// A printer of results to standard output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    json: bool,
}

impl Printer {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints a result: `value` as JSON, or `text`.
    pub(crate) fn result(
        self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<()> {
        if self.json { print(&serde_json::to_string_pretty(value)?) } else { print(&text()) }
    }

    /// Prints one of several results: `value` as JSON on one line, or `text`.
    pub(crate) fn line(self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if self.json { print(&serde_json::to_string(value)?) } else { print(&text()) }
    }
}

/// Prints a line to standard output.
fn print(line: &str) -> Result<()> {
    Ok(writeln!(stdout(), "{line}").map_err(OutputError)?)
}

/// Standard output was closed, as by `| head`, or cannot be written.
#[derive(Debug)]
pub(crate) struct OutputError(io::Error);

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed to write the output")
    }
}

impl Error for OutputError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

impl OutputError {
    /// Returns whether the reader of the output has ended, which is not an error to report.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Asks on standard error for a confirmation. Returns the reply of a person, or `None` if standard input
/// is not a terminal.
pub(crate) fn confirm(question: &str) -> Result<Option<bool>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    write!(stderr(), "{question} [y/N] ")?;
    let mut reply = String::new();
    io::stdin().read_line(&mut reply)?;
    Ok(Some(matches!(reply.trim().to_lowercase().as_str(), "y" | "yes")))
}

/// Prints a note to standard error, if that is open.
pub(crate) fn note(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

/// Prints an error, its causes and its advice to standard error.
pub(crate) fn error(error: &anyhow::Error) {
    // Some errors of the AWS SDK display their cause themselves.
    let mut causes: Vec<_> = error.chain().map(ToString::to_string).collect();
    causes.dedup();
    for (index, cause) in causes.iter().enumerate() {
        note(&format!("{}: {cause}", if index == 0 { "error" } else { "  caused by" }));
    }
    if let Some(advice) = advice(error) {
        note(advice);
    }
}

/// Formats a table without borders.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    trimmed(&table)
}

/// Formats names and values.
pub(crate) fn pairs(rows: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    trimmed(&table)
}

fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Formats a time in UTC; a dash for none.
pub(crate) fn time(time: Option<OffsetDateTime>) -> String {
    time.and_then(|time| time.to_offset(time::UtcOffset::UTC).format(TIME).ok())
        .unwrap_or_else(|| "-".to_owned())
}

/// Formats an age by its two largest units.
pub(crate) fn age(age: time::Duration) -> String {
    let seconds = Duration::from_secs(age.whole_seconds().try_into().unwrap_or(0));
    let text = humantime::format_duration(seconds).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}
