//! The outcomes of many bursts of faults.

use std::collections::BTreeMap;
use std::fmt;

use super::tally::{TrialOutcome, loses_artwork, loses_email};
use super::trial::{MANY, Stage, email_of, emails, open_uploads};

/// Limit of the GETs per artwork: a service in trouble must not be hammered.
const MAX_GETS: f64 = 2.5;

/// The outcomes of all trials, one line per kind of burst.
#[derive(Default)]
pub(super) struct BurstTally {
    lines: BTreeMap<String, Line>,
    /// Every violation of an expectation, with its trial.
    pub(super) wrong: Vec<String>,
}

/// The sums over the trials of one kind.
#[derive(Default)]
struct Line {
    requests: u32,
    faults: usize,
    lost: u32,
    received: u32,
    emails: usize,
    missing: usize,
    /// GETs per artwork: the sum and the maximum.
    gets: (f64, f64),
}

impl BurstTally {
    /// Sums up the trials, each with its kind and its beginning, and checks their e-mails and open
    /// uploads with one query each.
    pub(super) async fn of(stage: &Stage, outcomes: Vec<(String, String, TrialOutcome)>) -> Self {
        let (emails, uploads) = (emails(&stage.s).await, open_uploads(&stage.s).await);
        let mut tally = Self::default();
        for (kind, beginning, outcome) in outcomes {
            let address = email_of(&outcome.user_sqid);
            let sent = emails.iter().filter(|to| **to == address).count();
            let prefix = format!("bdr/{}/", outcome.user_sqid);
            let open = uploads.iter().filter(|key| key.starts_with(&prefix)).count();
            tally.add(kind, &beginning, &outcome, sent, open);
        }
        tally
    }

    fn add(
        &mut self,
        kind: String,
        beginning: &str,
        outcome: &TrialOutcome,
        sent: usize,
        open: usize,
    ) {
        let trial = format!("{kind} from {beginning}");
        let mut wrong = |what: String| self.wrong.push(format!("{trial}: {what}"));
        let is_struck = |lost: fn(_, &_) -> bool| outcome.struck.iter().any(|(f, c)| lost(*f, c));
        if outcome.struck.is_empty() {
            wrong("no fault struck".to_owned());
        }
        if open > 0 {
            wrong(format!("{open} multipart uploads are open"));
        }
        if sent > 1 || sent == 0 && !is_struck(loses_email) {
            wrong(format!("{sent} e-mails were sent"));
        }
        #[expect(clippy::cast_precision_loss, reason = "the counts are small")]
        let gets = outcome.gets as f64 / (MANY + 1) as f64;
        if gets > MAX_GETS {
            wrong(format!("{gets:.2} GETs per artwork"));
        }
        let line = self.lines.entry(kind).or_default();
        line.requests += 1;
        line.faults += outcome.struck.len();
        line.emails += sent;
        line.gets = (line.gets.0 + gets, line.gets.1.max(gets));
        match &outcome.ended {
            Ok((deliveries, missing)) => {
                line.received += deliveries.received;
                line.missing += missing;
                if *missing > 0 && !is_struck(loses_artwork) {
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

impl fmt::Display for BurstTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "burst            requests   faults  lost  receives  e-mails  missing  GETs per artwork: mean, worst"
        )?;
        let mut all = Line::default();
        for (kind, line) in &self.lines {
            writeln!(f, "{kind:<16} {line}")?;
            all.requests += line.requests;
            all.faults += line.faults;
            all.lost += line.lost;
            all.received += line.received;
            all.emails += line.emails;
            all.missing += line.missing;
            all.gets = (all.gets.0 + line.gets.0, all.gets.1.max(line.gets.1));
        }
        write!(f, "{:<16} {all}", "all")
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, faults, lost, received, emails, missing, gets: (sum, worst) } = self;
        let mean = sum / f64::from(*requests);
        write!(
            f,
            "{requests:>8} {faults:>8} {lost:>5} {received:>9} {emails:>8} {missing:>8}  {mean:>22.2} {worst:>6.2}"
        )
    }
}
