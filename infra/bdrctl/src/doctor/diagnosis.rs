//! The findings of `doctor`.

use std::fmt::Display;

use console::Style;
use serde::Serialize;

use crate::advised::advice;
use crate::error_kind::ErrorKind;

/// The level of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// As required.
    Ok,
    /// Requests are processed, but an operator should look at it.
    Warning,
    /// Requests are lost, late or wrong.
    Error,
    /// The check could not run.
    NotChecked,
}

/// The result of one check.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    level: Level,
    check: &'static str,
    found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    /// Whether the check could not run because the stack does not exist.
    #[serde(skip)]
    is_skipped: bool,
}

/// The findings of all checks.
#[derive(Debug, Default)]
pub(crate) struct Diagnosis {
    pub(crate) findings: Vec<Finding>,
    /// The error of a stack that does not exist.
    no_stack: Option<String>,
}

/// The check of the stack, whose findings name it.
const STACK: &str = "stack";

impl Diagnosis {
    /// Adds an ok.
    pub(crate) fn ok(&mut self, check: &'static str, found: impl Display) {
        self.add(Level::Ok, check, &found, None);
    }

    /// Adds a warning.
    pub(crate) fn warning(&mut self, check: &'static str, found: impl Display, advice: &str) {
        self.add(Level::Warning, check, &found, Some(advice));
    }

    /// Adds an error.
    pub(crate) fn error(&mut self, check: &'static str, found: impl Display, advice: &str) {
        self.add(Level::Error, check, &found, Some(advice));
    }

    /// Adds an ok if `holds`, else an error.
    pub(crate) fn require(
        &mut self,
        holds: bool,
        check: &'static str,
        found: impl Display,
        advice: &str,
    ) {
        if holds { self.ok(check, found) } else { self.error(check, found, advice) }
    }

    /// Adds the check of the stack.
    pub(crate) fn stack(&mut self, outputs: &Result<String, anyhow::Error>) {
        match outputs {
            Ok(_) => self.ok(STACK, "the stack's outputs are readable"),
            Err(error) => {
                let found = reason(error);
                let default = "Most other checks need the outputs.";
                self.error(STACK, &found, advice(error).unwrap_or(default));
                self.no_stack = (ErrorKind::of(error) == ErrorKind::NotFound).then_some(found);
            }
        }
    }

    /// Adds a check that could not run because of `error`. The error's own advice takes precedence.
    pub(crate) fn not_checked(
        &mut self,
        check: &'static str,
        error: &anyhow::Error,
        default_advice: &str,
    ) {
        let advice = advice(error).unwrap_or(default_advice);
        let found = reason(error);
        let no_stack = self.no_stack.as_ref();
        let is_skipped = no_stack.is_some_and(|no_stack| found.ends_with(no_stack));
        self.add(Level::NotChecked, check, &found, Some(advice));
        if let Some(finding) = self.findings.last_mut() {
            finding.is_skipped = is_skipped;
        }
    }

    /// Returns the number of findings of a level.
    pub(crate) fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    fn add(
        &mut self,
        level: Level,
        check: &'static str,
        found: &dyn Display,
        advice: Option<&str>,
    ) {
        let advice = advice.map(str::to_owned);
        let found = found.to_string();
        self.findings.push(Finding { level, check, found, advice, is_skipped: false });
    }

    /// Formats the findings, problems first and the worst of them first, and a last line with their
    /// numbers. Leaves out ok unless `all`. A stack that does not exist is mentioned once.
    pub(crate) fn text(&self, all: bool, coloured: bool) -> String {
        let skipped = self.findings.iter().filter(|finding| finding.is_skipped).count();
        let mut lines = Vec::new();
        for level in [Level::Error, Level::Warning, Level::NotChecked, Level::Ok] {
            let found = self.findings.iter();
            let found = found.filter(|finding| finding.level == level && !finding.is_skipped);
            for finding in found.filter(|finding| all || finding.level != Level::Ok) {
                let is_missing_stack = finding.check == STACK && skipped > 0;
                let more = if is_missing_stack {
                    format!("; {} skipped", plural(skipped, "check"))
                } else {
                    String::new()
                };
                lines.push(finding.text(&more, coloured));
            }
        }
        let [ok, warnings, errors, not_checked] =
            [Level::Ok, Level::Warning, Level::Error, Level::NotChecked].map(|l| self.count(l));
        let (warnings, errors) = (plural(warnings, "warning"), plural(errors, "error"));
        let hint = if all || ok == 0 { "" } else { " (to list every check, add --all)" };
        lines.push(format!("{errors}, {warnings}, {not_checked} not checked, {ok} ok{hint}"));
        lines.join("\n")
    }
}

impl Finding {
    /// Formats the finding, with `more` after it and the advice on a line of its own.
    fn text(&self, more: &str, coloured: bool) -> String {
        let style = Style::new().bold().force_styling(coloured);
        let (style, level) = match self.level {
            Level::Ok => (style.green(), "ok"),
            Level::Warning => (style.yellow(), "warning"),
            Level::Error => (style.red(), "error"),
            Level::NotChecked => (style.cyan(), "not checked"),
        };
        let check = if self.check == STACK { String::new() } else { format!("{}: ", self.check) };
        let level = style.apply_to(format!("{level}:"));
        let advice = self.advice.iter().map(|advice| format!("\n  {advice}"));
        format!("{level} {check}{}{more}{}", self.found, advice.collect::<String>())
    }
}

/// Returns a count with its noun.
pub(super) fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Returns an error and its causes on one line, with the error code of AWS but without the full response,
/// which may hold an address.
pub(super) fn reason(error: &anyhow::Error) -> String {
    let chain = error.chain().map(ToString::to_string);
    let chain: Vec<String> = chain.filter(|text| !text.starts_with("Error {")).collect();
    let line = chain.join(": ").replace('\n', " ");
    line.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::{Diagnosis, reason};
    use crate::advised::Advised;

    #[test]
    fn a_reason_is_one_line_without_the_response() {
        let error = anyhow!("Error {{ message: \"to somebody\" }}");
        let error = error.context("unhandled error (AccessDenied)").context("SES does\nnot say.");
        assert_eq!(reason(&error), "SES does not say.: unhandled error (AccessDenied)");
    }

    #[test]
    fn unchecked_findings_are_counted_apart() {
        let mut diagnosis = Diagnosis::default();
        diagnosis.ok("queue", "is empty");
        diagnosis.not_checked("e-mail", &anyhow!("SES is silent"), "Ask again.");
        let text = diagnosis.text(false, false);
        assert!(text.contains("not checked: e-mail: SES is silent\n  Ask again."), "{text}");
        let summary = "0 errors, 0 warnings, 1 not checked, 1 ok (to list every check, add --all)";
        assert!(text.ends_with(summary), "{text}");
        diagnosis.warning("queue", "holds 1 message", "Read it.");
        let text = diagnosis.text(true, false);
        assert!(text.ends_with("0 errors, 1 warning, 1 not checked, 1 ok"), "{text}");
    }

    #[test]
    fn problems_come_first_and_ok_only_on_request() {
        let mut diagnosis = Diagnosis::default();
        diagnosis.ok("queue", "is empty");
        diagnosis.not_checked("e-mail", &anyhow!("SES is silent"), "Ask again.");
        diagnosis.warning("queue", "holds 1 message", "Read it.");
        diagnosis.error("vault", "does not exist", "Create it.");
        let order = |text: &str, words: &[&str]| {
            let at: Vec<_> = words.iter().map(|word| text.find(word)).collect();
            assert!(at.is_sorted() && at.iter().all(Option::is_some), "{text}");
        };
        order(&diagnosis.text(true, false), &["error:", "warning:", "not checked:", "ok:"]);
        let text = diagnosis.text(false, false);
        order(&text, &["error:", "warning:", "not checked:"]);
        assert!(!text.contains("ok:") && !text.contains('\u{1b}'), "{text}");
        assert!(diagnosis.text(false, true).starts_with("\u{1b}[31m\u{1b}[1merror:"));
    }

    #[test]
    fn a_missing_stack_is_mentioned_once() {
        let mut diagnosis = Diagnosis::default();
        let missing = || anyhow!(Advised::not_found("no stack \"a\" in here", "Check --stack."));
        diagnosis.stack(&Err(missing()));
        diagnosis.not_checked("queue", &missing(), "Ask again.");
        diagnosis.not_checked("e-mail", &missing().context("failed to ask"), "Ask again.");
        diagnosis.not_checked("database", &anyhow!("refused"), "Start it.");
        let expected = "error: no stack \"a\" in here; 2 checks skipped\n  Check --stack.\n\
                        not checked: database: refused\n  Start it.\n\
                        1 error, 0 warnings, 3 not checked, 0 ok";
        assert_eq!(diagnosis.text(false, false), expected);
        assert_eq!(diagnosis.findings.len(), 4, "JSON has all");
    }

    #[test]
    fn the_advice_of_an_error_takes_precedence() {
        let mut diagnosis = Diagnosis::default();
        let error = anyhow!(Advised::new("no stack", "Name it."));
        diagnosis.not_checked("queue", &error, "Ask again.");
        let text = diagnosis.text(false, false);
        assert!(text.contains("no stack\n  Name it."), "{text}");
    }
}
