//! Output: tables for people, JSON for scripts.

use std::error::Error;
use std::fmt;
use std::io::{self, Write as _, stderr, stdout};
use std::time::Duration;

use anyhow::Result;
use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;
use serde_json::json;
use shared::request::Overview;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::advised::advice;
use crate::error_kind::ErrorKind;

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

    pub(crate) fn is_json(self) -> bool {
        self.json
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

    /// Prints an empty list: `text`, or `[]` as JSON and `text` as a note.
    pub(crate) fn empty(self, text: &str) -> Result<()> {
        if self.json {
            note(text);
            print("[]")
        } else {
            print(text)
        }
    }

    /// Prints an error, its causes and its advice to standard error.
    pub(crate) fn error(self, error: &anyhow::Error) {
        // Some errors of the AWS SDK display their cause themselves.
        let mut causes: Vec<_> = error.chain().map(ToString::to_string).collect();
        causes.dedup();
        if self.json {
            let message = causes.remove(0);
            json_error(ErrorKind::of(error), &message, &causes, advice(error));
            return;
        }
        for (index, cause) in causes.iter().enumerate() {
            note(&format!("{}: {cause}", if index == 0 { "error" } else { "  caused by" }));
        }
        if let Some(advice) = advice(error) {
            note(advice);
        }
    }

    /// Prints help or the version to standard output, or an error of the command line to standard error.
    pub(crate) fn usage(self, error: &clap::Error) {
        let text = error.to_string();
        if self.json && error.use_stderr() {
            // The first paragraph is the error; usage follows.
            let message = text.split("\n\n").next().unwrap_or(&text);
            let message = message.trim_start_matches("error: ");
            let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
            json_error(ErrorKind::Usage, &message, &[], Some("Run `bdrctl --help`."));
        } else if error.use_stderr() {
            note(text.trim_end());
        } else {
            // A reader that has ended needs no help.
            let _ = self::text(&text);
        }
    }
}

/// Prints text to standard output as it stands.
pub(crate) fn text(text: &str) -> Result<()> {
    Ok(write!(stdout(), "{text}").map_err(OutputError)?)
}

fn json_error(code: ErrorKind, error: &str, causes: &[String], advice: Option<&str>) {
    note(&json!({"error": error, "code": code, "causes": causes, "advice": advice}).to_string());
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

/// Asks on standard error for a confirmation. Returns the answer on standard input, or `None` without one.
pub(crate) fn confirm(question: &str) -> Result<Option<bool>> {
    // In one write, so that a terminal does not echo an early answer in the middle of the question.
    stderr().write_all(format!("{question} [y/N] ").as_bytes())?;
    let mut reply = String::new();
    if io::stdin().read_line(&mut reply)? == 0 {
        note("");
        return Ok(None);
    }
    Ok(Some(matches!(reply.trim().to_lowercase().as_str(), "y" | "yes")))
}

/// Prints a note to standard error, if that is open.
pub(crate) fn note(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

/// Escapes control characters, which others chose and which a terminal would obey.
pub(crate) fn escaped(text: &str) -> String {
    let escaped = text.chars().map(|character| match character {
        character if character.is_control() => character.escape_default().to_string(),
        character => character.to_string(),
    });
    escaped.collect()
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

/// Formats the time that a request has been in its state; a dash for an unknown time.
pub(crate) fn age_of(request: &Overview) -> String {
    request.since.map_or_else(|| "-".to_owned(), |since| age(request.now - since))
}

/// Describes the state of a request, for the end of a sentence about the request.
pub(crate) fn state_of(request: &Overview) -> String {
    if request.awaits_cleanup {
        format!("expired {} ago, and the next cleanup deletes its archive", age_of(request))
    } else {
        format!("is {}", request.status)
    }
}

/// Formats an age by its two largest units.
pub(crate) fn age(age: time::Duration) -> String {
    let seconds = Duration::from_secs(age.whole_seconds().try_into().unwrap_or(0));
    let text = humantime::format_duration(seconds).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}
