//! The outcomes of many trials.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use bdr_tests::lambda::Deliveries;
use bdr_tests::proxy::{Call, Fault, IF_MATCH, Service};

use super::trial::{Stage, email_of, emails, open_uploads};

/// The outcome of one trial.
pub(super) struct TrialOutcome {
    /// Public id of the trial's artist.
    pub(super) user_sqid: String,
    /// The faults that struck, and the calls that they struck.
    pub(super) struck: Vec<(Fault, Call)>,
    /// The number of GETs of artworks, in the vault and on the web.
    pub(super) gets: usize,
    /// The deliveries and the number of missing artworks, if the request became ready.
    pub(super) ended: Result<(Deliveries, usize)>,
}

/// The outcomes of all trials, one line per fault.
#[derive(Default)]
pub(super) struct Tally {
    lines: BTreeMap<Fault, Line>,
    /// Every violation of an expectation, with its trial.
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

/// Returns whether this fault at this call loses the e-mail. At most one e-mail is sent, so none is
/// sent again if the result of SES is unknown or the worker died just before the call.
pub(super) fn loses_email(fault: Fault, call: &Call) -> bool {
    match (call.service, call.operation.as_str()) {
        (Service::Ses, "SendEmail") => {
            matches!(fault, Fault::LostRequest | Fault::Error | Fault::Denial | Fault::KillBefore)
        }
        // The row is ready, and no later attempt can know that the e-mail was not sent.
        (Service::Postgres, "UPDATE ready") => fault == Fault::KillAfter,
        _ => false,
    }
}

/// Returns whether the e-mail depends on this call.
fn concerns_email(call: &Call) -> bool {
    ["SendEmail", "UPDATE ready"].contains(&call.operation.as_str())
}

/// Returns whether this fault at this call makes an artwork missing: a denial is a permanent
/// failure. When the rest of a large artwork is denied, the attempt starts again.
pub(super) fn loses_artwork(fault: Fault, call: &Call) -> bool {
    fault == Fault::Denial && fetches_artwork(call) && !call.request.ends_with(IF_MATCH)
}

/// Returns whether this call requests an artwork. A GET below `bdr/` reads an archive.
pub(super) fn fetches_artwork(call: &Call) -> bool {
    match call.service {
        Service::Web => true,
        Service::S3 => call.operation == "GetObject" && !call.request.contains("/bdr/"),
        _ => false,
    }
}

impl Tally {
    /// Sums up the trials, and checks their e-mails and open uploads with one query each.
    pub(super) async fn of(stage: &Stage, outcomes: Vec<TrialOutcome>) -> Self {
        let (emails, uploads) = (emails(&stage.s).await, open_uploads(&stage.s).await);
        let mut tally = Self::default();
        for outcome in outcomes {
            let address = email_of(&outcome.user_sqid);
            let sent = emails.iter().filter(|to| **to == address).count();
            let prefix = format!("bdr/{}/", outcome.user_sqid);
            let open = uploads.iter().filter(|key| key.starts_with(&prefix)).count();
            tally.add(outcome, sent, open);
        }
        tally
    }

    fn add(&mut self, outcome: TrialOutcome, sent: usize, open: usize) {
        let calls: Vec<String> =
            outcome.struck.iter().map(|(fault, call)| format!("{fault:?} at {call}")).collect();
        let trial = calls.join(", then ");
        let mut wrong = |what: String| self.wrong.push(format!("{trial}: {what}"));
        if outcome.struck.is_empty() {
            wrong("the fault did not strike".to_owned());
        }
        if open > 0 {
            wrong(format!("{open} multipart uploads are open"));
        }
        let may = |lost: fn(Fault, &Call) -> bool| outcome.struck.iter().any(|(f, c)| lost(*f, c));
        let may_lose_email = may(loses_email);
        // Several faults may lose the e-mail together, or the last one may not be reached.
        let several = outcome.struck.len() > 1;
        let is_unsure = several && outcome.struck.iter().any(|(_, call)| concerns_email(call));
        if sent > 1 || !is_unsure && (sent == 0) != may_lose_email {
            wrong(format!("{sent} e-mails were sent"));
        }
        let may_lose_artwork = may(loses_artwork);
        let line = outcome.struck.last().map(|(fault, call)| (*fault, call.to_string()));
        let (fault, call) = line.unwrap_or((Fault::Hold, String::new()));
        let line = self.lines.entry(fault).or_default();
        line.injected += 1;
        if sent == 0 {
            *line.unsent.entry(call.clone()).or_default() += 1;
        }
        match outcome.ended {
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
            "fault             injected  survived  lost  receives  deaths  not sent or missing"
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
