//! The findings of `doctor`.

use std::fmt::Display;

use serde::Serialize;

use crate::advised::advice;

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
}

/// The findings of all checks.
#[derive(Debug, Default)]
pub(crate) struct Diagnosis {
    pub(crate) findings: Vec<Finding>,
}

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

    /// Adds a check that could not run because of `error`. The error's own advice takes precedence.
    pub(crate) fn not_checked(
        &mut self,
        check: &'static str,
        error: &anyhow::Error,
        default_advice: &str,
    ) {
        let advice = advice(error).unwrap_or(default_advice);
        self.add(Level::NotChecked, check, &reason(error), Some(advice));
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
        self.findings.push(Finding { level, check, found: found.to_string(), advice });
    }

    /// Formats the findings, a line each, and a last line with their numbers.
    pub(crate) fn text(&self) -> String {
        let mut lines: Vec<String> = self.findings.iter().map(Finding::text).collect();
        let [ok, warnings, errors, not_checked] =
            [Level::Ok, Level::Warning, Level::Error, Level::NotChecked].map(|l| self.count(l));
        let (warnings, errors) = (plural(warnings, "warning"), plural(errors, "error"));
        lines.push(format!("{ok} ok, {warnings}, {errors}, {not_checked} not checked"));
        lines.join("\n")
    }
}

impl Finding {
    fn text(&self) -> String {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Error => "error",
            Level::NotChecked => "not checked",
        };
        let advice = self.advice.iter().map(|advice| format!(". {advice}"));
        format!("{level:<11}  {:<21}  {}{}", self.check, self.found, advice.collect::<String>())
    }
}

fn plural(count: usize, noun: &str) -> String {
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
        let text = diagnosis.text();
        assert!(text.contains("not checked  e-mail") && text.contains("silent. Ask again."));
        assert!(text.ends_with("1 ok, 0 warnings, 0 errors, 1 not checked"), "{text}");
        diagnosis.warning("queue", "holds 1 message", "Read it.");
        let text = diagnosis.text();
        assert!(text.ends_with("1 ok, 1 warning, 0 errors, 1 not checked"), "{text}");
    }

    #[test]
    fn the_advice_of_an_error_takes_precedence() {
        let mut diagnosis = Diagnosis::default();
        let error = anyhow!(Advised::new("no stack", "Name it."));
        diagnosis.not_checked("queue", &error, "Ask again.");
        assert!(diagnosis.text().contains("no stack. Name it."), "{}", diagnosis.text());
    }
}
