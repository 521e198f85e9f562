//! What came of many trials.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use bdr_tests::lambda::Deliveries;
use bdr_tests::proxy::{Call, Fault, Service};

use super::trial::{Stage, email_of, emails, left_uploads};

/// What came of one trial.
pub(super) struct Report {
    /// The artist of the trial.
    pub(super) user_sqid: String,
    /// What has struck, and whom.
    pub(super) struck: Vec<(Fault, Call)>,
    /// How many artworks the ZIP lacks, if the request has come to a good end.
    pub(super) ended: Result<(Deliveries, usize)>,
}

/// What came of all trials, a line a fault.
#[derive(Default)]
pub(super) struct Tally {
    lines: BTreeMap<Fault, Line>,
    /// Every trial that was other than it must be, and how.
    pub(super) wrong: Vec<String>,
}

#[derive(Default)]
struct Line {
    injected: u32,
    survived: u32,
    lost: u32,
    died: u32,
    received: u32,
    unsent: BTreeMap<String, u32>,
    missing: BTreeMap<String, u32>,
}

/// Whether the artist hears of it when a call suffers this. At most one e-mail is sent, and so none
/// when SES was asked and what it did is not known, or when the worker died just before.
fn loses_email(fault: Fault, call: &Call) -> bool {
    match (call.service, call.operation.as_str()) {
        (Service::Ses, "SendEmail") => {
            matches!(fault, Fault::LostRequest | Fault::Error | Fault::Denial | Fault::KillBefore)
        }
        // The row is ready, and nobody is left who knows that the artist has not been told.
        (Service::Postgres, "UPDATE ready") => fault == Fault::KillAfter,
        _ => false,
    }
}

/// Whether the e-mail hangs on this call.
fn concerns_email(call: &Call) -> bool {
    ["SendEmail", "UPDATE ready"].contains(&call.operation.as_str())
}

/// Whether an artwork is given up when a call suffers this: a refusal is an answer, and not a
/// fault that passes.
fn loses_artwork(fault: Fault, call: &Call) -> bool {
    fault == Fault::Denial
        && matches!(
            (call.service, call.operation.as_str()),
            (Service::S3, "GetObject") | (Service::Web, _)
        )
}

impl Tally {
    /// Adds up the trials, and looks at what is looked at for all of them at once.
    pub(super) async fn of(stage: &Stage, reports: Vec<Report>) -> Self {
        let (emails, uploads) = (emails(&stage.s).await, left_uploads(&stage.s).await);
        let mut tally = Self::default();
        for report in reports {
            let address = email_of(&report.user_sqid);
            let sent = emails.iter().filter(|to| **to == address).count();
            let prefix = format!("bdr/{}/", report.user_sqid);
            let open = uploads.iter().filter(|key| key.starts_with(&prefix)).count();
            tally.add(report, sent, open);
        }
        tally
    }

    fn add(&mut self, report: Report, sent: usize, open: usize) {
        let calls: Vec<String> =
            report.struck.iter().map(|(fault, call)| format!("{fault:?} at {call}")).collect();
        let trial = calls.join(", then ");
        let mut wrong = |what: String| self.wrong.push(format!("{trial}: {what}"));
        if report.struck.is_empty() {
            wrong("the fault never struck".to_owned());
        }
        if open > 0 {
            wrong(format!("{open} multipart uploads are open"));
        }
        let may = |lost: fn(Fault, &Call) -> bool| report.struck.iter().any(|(f, c)| lost(*f, c));
        let may_lose_email = may(loses_email);
        // Several faults may lose it together, or the last one may not be reached.
        let several = report.struck.len() > 1;
        let is_unsure = several && report.struck.iter().any(|(_, call)| concerns_email(call));
        if sent > 1 || !is_unsure && (sent == 0) != may_lose_email {
            wrong(format!("{sent} e-mails were sent"));
        }
        let may_lose_artwork = may(loses_artwork);
        let line = report.struck.last().map(|(fault, call)| (*fault, call.to_string()));
        let (fault, call) = line.unwrap_or((Fault::Hold, String::new()));
        let line = self.lines.entry(fault).or_default();
        line.injected += 1;
        if sent == 0 {
            *line.unsent.entry(call.clone()).or_default() += 1;
        }
        match report.ended {
            Ok((deliveries, missing)) => {
                line.survived += 1;
                line.died += deliveries.died;
                line.received += deliveries.received;
                if missing > 0 {
                    *line.missing.entry(call).or_default() += 1;
                }
                if (missing > 0) != may_lose_artwork {
                    self.wrong.push(format!("{trial}: {missing} artworks are missing"));
                }
            }
            Err(error) => {
                line.lost += 1;
                self.wrong.push(format!("{trial}: {error:#}"));
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "fault             injected  survived  lost  receives  deaths  not sent, or missing"
        )?;
        for (fault, line) in &self.lines {
            let unsent = line.unsent.iter().map(|(call, n)| format!("{n} e-mail: {call}"));
            let missing = line.missing.iter().map(|(call, n)| format!("{n} artwork: {call}"));
            let remarks: Vec<String> = unsent.chain(missing).collect();
            let Line { injected, survived, lost, received, died, .. } = line;
            writeln!(
                f,
                "{:<16} {injected:>9} {survived:>9} {lost:>5} {received:>9} {died:>7}  {}",
                format!("{fault:?}"),
                remarks.join("; ")
            )?;
        }
        let sum = |of: fn(&Line) -> u32| self.lines.values().map(of).sum::<u32>();
        let (injected, survived) = (sum(|line| line.injected), sum(|line| line.survived));
        let (lost, received, died) = (sum(|l| l.lost), sum(|l| l.received), sum(|l| l.died));
        write!(f, "{:<16} {injected:>9} {survived:>9} {lost:>5} {received:>9} {died:>7}", "all")
    }
}
