//! SES: that it sends, to everybody, from the sender. Addresses are not printed.

use anyhow::{Context as _, Result};
use aws_sdk_ses::Client;
use aws_sdk_ses::types::VerificationStatus;

use super::finding::Report;
use crate::operator::Operator;

const CHECK: &str = "e-mail";
/// `Max24HourSend` of an account in the sandbox (SES, "Service quotas").
const SANDBOX: f64 = 200.0;

pub(super) async fn check(operator: &Operator, report: &mut Report) {
    let sender = match operator.function_environment().await {
        Ok(environment) => environment.optional("EMAIL_FROM").map(str::to_owned),
        Err(error) => {
            return report.not_checked(CHECK, &error, "Needs lambda:GetFunctionConfiguration.");
        }
    };
    let Some(sender) = sender else {
        let advice = "If artists are to be told, give the template's EmailFrom.";
        return report.warning(CHECK, "EMAIL_FROM is not set: none is sent", advice);
    };
    let ses = Client::new(&operator.reached.aws);
    if let Err(error) = identity(&ses, report, &sender).await {
        report.not_checked(CHECK, &error, "Needs ses:GetIdentityVerificationAttributes.");
    }
    if let Err(error) = quota(&ses, report).await {
        report.not_checked(CHECK, &error, "Needs ses:GetSendQuota.");
    }
    if let Err(error) = sending(&ses, report).await {
        report.not_checked(CHECK, &error, "Needs ses:GetAccountSendingEnabled.");
    }
}

/// The sender's address, its domain or one above it must be verified.
async fn identity(ses: &Client, report: &mut Report, sender: &str) -> Result<()> {
    let identities = identities(sender);
    let asked = ses.get_identity_verification_attributes();
    let answer = asked.set_identities(Some(identities.clone())).send().await;
    let answer = answer.context("SES does not say who is verified")?;
    let verified = identities.iter().find(|identity| {
        answer
            .verification_attributes
            .get(*identity)
            .is_some_and(|found| found.verification_status == VerificationStatus::Success)
    });
    match verified {
        Some(identity) if identity.contains('@') => report.ok(CHECK, "the sender is verified"),
        Some(domain) => report.ok(CHECK, format!("the sender's domain {domain} is verified")),
        None => report.error(
            CHECK,
            "the sender is not verified in this region: every e-mail is refused",
            "Verify the address of EMAIL_FROM or its domain (aws sesv2 create-email-identity).",
        ),
    }
    Ok(())
}

/// What SES may have verified: the address of `Name <address>`, and the domains above it.
fn identities(sender: &str) -> Vec<String> {
    let address = sender.rsplit('<').next().unwrap_or(sender).trim_end_matches('>').trim();
    let mut identities = vec![address.to_owned()];
    let mut domain = address.rsplit('@').next().unwrap_or_default();
    while let Some((_, above)) = domain.split_once('.') {
        identities.push(domain.to_lowercase());
        domain = above;
    }
    identities
}

async fn quota(ses: &Client, report: &mut Report) -> Result<()> {
    let quota = ses.get_send_quota().send().await.context("SES does not say its quota")?;
    let (most, sent) = (quota.max24_hour_send, quota.sent_last24_hours);
    if most < 0.0 {
        report.ok(CHECK, "there is no daily quota"); // -1: unlimited
    } else if most <= SANDBOX {
        let found = format!("the account is in the sandbox: {most} e-mails a day");
        let advice = "Only verified addresses get any. Ask for production access (Runbook, \
                      \"E-mails do not arrive\").";
        report.error(CHECK, found, advice);
    } else if sent >= most * 0.8 {
        let found = format!("{sent} e-mails of {most} a day are sent");
        report.warning(CHECK, found, "Ask for a higher quota.");
    } else {
        report.ok(CHECK, format!("the account is out of the sandbox: {most} e-mails a day"));
    }
    Ok(())
}

async fn sending(ses: &Client, report: &mut Report) -> Result<()> {
    let answer = ses.get_account_sending_enabled().send().await;
    let answer = answer.context("SES does not say whether it is enabled")?;
    let found = if answer.enabled { "sending is enabled" } else { "sending is paused" };
    report.must(answer.enabled, CHECK, found, "SES has paused the account: its console says why.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::identities;

    #[test]
    fn an_address_is_verified_by_itself_or_by_a_domain_above_it() {
        let expected = ["no-reply@mail.Makapix.club", "mail.makapix.club", "makapix.club"];
        assert_eq!(identities("Makapix <no-reply@mail.Makapix.club>"), expected);
        assert_eq!(identities("no-reply@mail.Makapix.club"), expected);
    }
}
