//! The suppression list of SES: addresses that bounced, and addresses whose owners complained. SES accepts
//! e-mails to them, and does not send them. Addresses are not printed.

use anyhow::{Context as _, Result};
use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::primitives::DateTime;
use aws_sdk_sesv2::types::SuppressionListReason;
use shared::clock::Clock;
use time::Duration;

use super::diagnosis::Diagnosis;
use crate::operator::Operator;

const CHECK: &str = "suppressed addresses";
/// Older additions are known, or of no interest any more.
const RECENT: Duration = Duration::days(14);
/// Addresses per page, the maximum (SES, `ListSuppressedDestinations`).
const PAGE: i32 = 1000;
/// A limit of the calls. More addresses than this need no exact count.
const MAX_PAGES: usize = 10;

/// Checks for addresses that SES suppressed lately.
pub(super) async fn check(operator: &Operator, diagnosis: &mut Diagnosis) {
    match recent(operator).await {
        Ok(counts) => report(diagnosis, &counts),
        Err(error) => {
            let advice = "To check it, allow ses:ListSuppressedDestinations.";
            diagnosis.not_checked(CHECK, &error, advice);
        }
    }
}

/// The numbers of addresses by the reason for which they were added.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    bounces: usize,
    complaints: usize,
    /// Whether there are more than these.
    is_incomplete: bool,
}

async fn recent(operator: &Operator) -> Result<Counts> {
    let begin = (Clock::system().now() - RECENT).unix_timestamp();
    let client = Client::new(&operator.connection.aws);
    let call = client.list_suppressed_destinations().page_size(PAGE);
    let call = call.start_date(DateTime::from_secs(begin));
    let mut pages = call.into_paginator().send();
    let mut counts = Counts::default();
    for _ in 0..MAX_PAGES {
        let Some(page) = pages.next().await else { return Ok(counts) };
        let page = page.context("cannot read the suppression list")?;
        for summary in page.suppressed_destination_summaries() {
            match summary.reason() {
                SuppressionListReason::Complaint => counts.complaints += 1,
                _ => counts.bounces += 1,
            }
        }
    }
    counts.is_incomplete = pages.next().await.is_some();
    Ok(counts)
}

fn report(diagnosis: &mut Diagnosis, counts: &Counts) {
    let (days, all) = (RECENT.whole_days(), counts.bounces + counts.complaints);
    if all == 0 {
        return diagnosis.ok(CHECK, format!("SES suppressed none in the last {days} days"));
    }
    let more = if counts.is_incomplete { "more than " } else { "" };
    let found = format!(
        "SES suppressed {more}{all} in the last {days} days (bounces: {}, complaints: {}), and sends them \
         no e-mail",
        counts.bounces, counts.complaints,
    );
    let advice = "To list them, run `aws sesv2 list-suppressed-destinations` (runbook, \"E-mails do not \
                  arrive\").";
    diagnosis.warning(CHECK, found, advice);
}
