//! What is printed: tables for people, JSON for scripts.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is where we print")]

use std::time::Duration;

use anyhow::Result;
use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");

/// Standard output for results, standard error for what is going on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// A result, in one of its two forms.
    pub(crate) fn result(
        self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(value)?);
        } else {
            println!("{}", text());
        }
        Ok(())
    }

    /// One of several results, as they come: with JSON, one object a line.
    pub(crate) fn line(self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if self.json {
            println!("{}", serde_json::to_string(value)?);
        } else {
            println!("{}", text());
        }
        Ok(())
    }
}

/// A word to the person at the terminal.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// What ended us.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}

/// Columns without lines between them.
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

/// Names and values.
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

/// A time for people; a dash for none.
pub(crate) fn time(time: Option<OffsetDateTime>) -> String {
    time.and_then(|time| time.to_offset(time::UtcOffset::UTC).format(TIME).ok())
        .unwrap_or_else(|| "-".to_owned())
}

/// An age for people: its two largest units.
pub(crate) fn age(age: time::Duration) -> String {
    let seconds = Duration::from_secs(age.whole_seconds().try_into().unwrap_or(0));
    let text = humantime::format_duration(seconds).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}
