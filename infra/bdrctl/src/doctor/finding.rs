//! What was found, a line each.

use std::fmt::Display;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// As it must be.
    Ok,
    /// Requests are processed, but something is to be known.
    Warning,
    /// Requests are lost, late or wrong.
    Error,
    /// Nobody knows.
    NotChecked,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    level: Level,
    check: &'static str,
    found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// All that was looked at.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) findings: Vec<Finding>,
}

impl Report {
    /// As it must be.
    pub(crate) fn ok(&mut self, check: &'static str, found: impl Display) {
        self.add(Level::Ok, check, &found, None);
    }

    /// To be known.
    pub(crate) fn warning(&mut self, check: &'static str, found: impl Display, advice: &str) {
        self.add(Level::Warning, check, &found, Some(advice));
    }

    /// Wrong.
    pub(crate) fn error(&mut self, check: &'static str, found: impl Display, advice: &str) {
        self.add(Level::Error, check, &found, Some(advice));
    }

    /// `wanted`, or else wrong.
    pub(crate) fn must(
        &mut self,
        wanted: bool,
        check: &'static str,
        found: impl Display,
        advice: &str,
    ) {
        if wanted { self.ok(check, found) } else { self.error(check, found, advice) }
    }

    /// Not to be seen, because of `error`.
    pub(crate) fn not_checked(&mut self, check: &'static str, error: &anyhow::Error, advice: &str) {
        self.add(Level::NotChecked, check, &reason(error), Some(advice));
    }

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

    /// A line a finding, and a last one that counts them.
    pub(crate) fn text(&self) -> String {
        let mut lines: Vec<String> = self.findings.iter().map(Finding::text).collect();
        let [ok, warnings, errors, not_checked] =
            [Level::Ok, Level::Warning, Level::Error, Level::NotChecked].map(|l| self.count(l));
        lines.push(format!(
            "{ok} ok, {warnings} to be known, {errors} wrong, {not_checked} not checked"
        ));
        lines.join("\n")
    }
}

impl Finding {
    fn text(&self) -> String {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Error => "error",
            Level::NotChecked => "could not check",
        };
        let advice = self.advice.iter().map(|advice| format!(" {advice}"));
        format!("{level:<15}  {:<22}  {}.{}", self.check, self.found, advice.collect::<String>())
    }
}

/// An error's own words, on one line: the code that AWS gives, and not all that it says, which may hold
/// more than is to be printed.
pub(super) fn reason(error: &anyhow::Error) -> String {
    let chain = error.chain().map(ToString::to_string);
    let chain: Vec<String> = chain.filter(|text| !text.starts_with("Error {")).collect();
    let line = chain.join(": ").replace('\n', " ");
    line.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Report, reason};

    #[test]
    fn a_reason_is_one_line_without_all_that_aws_says() {
        let error = anyhow::anyhow!("Error {{ message: \"to somebody\" }}");
        let error = error.context("unhandled error (AccessDenied)").context("SES does\nnot say.");
        assert_eq!(reason(&error), "SES does not say.: unhandled error (AccessDenied)");
    }

    #[test]
    fn what_could_not_be_seen_is_counted_apart() {
        let mut report = Report::default();
        report.ok("queue", "it is empty");
        report.not_checked("e-mail", &anyhow::anyhow!("SES is silent"), "Ask again.");
        let text = report.text();
        assert!(text.contains("could not check  e-mail") && text.contains("silent. Ask again."));
        assert!(text.ends_with("1 ok, 0 to be known, 0 wrong, 1 not checked"), "{text}");
    }
}
