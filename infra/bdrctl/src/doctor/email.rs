//! SES: the sender's verification, the quota and the account. Addresses are not printed.

use anyhow::{Context as _, Result};
use aws_sdk_ses::Client;
use aws_sdk_ses::types::VerificationStatus;

use super::diagnosis::Diagnosis;
use super::suppression;
use crate::operator::Operator;

const CHECK: &str = "e-mail";
/// `Max24HourSend` of an account in the sandbox (SES, "Service quotas").
const SANDBOX: f64 = 200.0;

pub(super) async fn check(operator: &Operator, diagnosis: &mut Diagnosis) {
    let sender = match operator.function_environment().await {
        Ok(environment) => environment.optional("EMAIL_FROM").map(str::to_owned),
        Err(error) => {
            return diagnosis.not_checked(
                CHECK,
                &error,
                "To check it, allow lambda:GetFunctionConfiguration.",
            );
        }
    };
    let Some(sender) = sender else {
        let advice = "To send e-mails, set the template's parameter EmailFrom.";
        return diagnosis.warning(CHECK, "EMAIL_FROM is not set: no e-mail is sent", advice);
    };
    let ses = Client::new(&operator.connection.aws);
    if let Err(error) = identity(&ses, diagnosis, &sender).await {
        diagnosis.not_checked(
            CHECK,
            &error,
            "To check it, allow ses:GetIdentityVerificationAttributes.",
        );
    }
    if let Err(error) = quota(&ses, diagnosis).await {
        diagnosis.not_checked(CHECK, &error, "To check it, allow ses:GetSendQuota.");
    }
    if let Err(error) = sending(&ses, diagnosis).await {
        diagnosis.not_checked(CHECK, &error, "To check it, allow ses:GetAccountSendingEnabled.");
    }
    suppression::check(operator, diagnosis).await;
}

/// Checks that the sender's address, its domain or a parent domain is verified.
async fn identity(ses: &Client, diagnosis: &mut Diagnosis, sender: &str) -> Result<()> {
    let identities = identities(sender);
    let call = ses.get_identity_verification_attributes();
    let response = call.set_identities(Some(identities.clone())).send().await;
    let response = response.context("cannot read SES identities")?;
    let verified = identities.iter().find(|identity| {
        response
            .verification_attributes
            .get(*identity)
            .is_some_and(|found| found.verification_status == VerificationStatus::Success)
    });
    match verified {
        Some(identity) if identity.contains('@') => {
            diagnosis.ok(CHECK, "the sender is verified");
            let found = "only the address is verified: SES signs no e-mail for the domain (DKIM)";
            let advice = "Verify the domain (deployment guide, \"Verify the sender\").";
            diagnosis.warning(CHECK, found, advice);
        }
        Some(domain) => {
            diagnosis.ok(CHECK, format!("the sender's domain {domain} is verified"));
            dkim(ses, diagnosis, domain).await?;
        }
        None => diagnosis.error(
            CHECK,
            "the sender is not verified in this region: SES rejects every e-mail",
            "Verify the address of EMAIL_FROM or its domain (`aws sesv2 create-email-identity`).",
        ),
    }
    Ok(())
}

/// Checks that SES signs the e-mails of a verified domain.
async fn dkim(ses: &Client, diagnosis: &mut Diagnosis, domain: &str) -> Result<()> {
    let response = ses.get_identity_dkim_attributes().identities(domain).send().await;
    let response = response.context("cannot read the DKIM attributes of the domain")?;
    let is_signed = response.dkim_attributes.get(domain).is_some_and(|dkim| {
        dkim.dkim_enabled && dkim.dkim_verification_status == VerificationStatus::Success
    });
    if is_signed {
        diagnosis.ok(CHECK, "SES signs the e-mails with DKIM");
    } else {
        let found = "SES does not sign the e-mails with DKIM: many providers reject them";
        let advice = "Create the CNAME records that SES lists for the domain.";
        diagnosis.warning(CHECK, found, advice);
    }
    Ok(())
}

/// Returns the identities that cover a sender `Name <address>`: the address, its domain and the parent
/// domains.
fn identities(sender: &str) -> Vec<String> {
    let address = sender.rsplit('<').next().unwrap_or(sender).trim_end_matches('>').trim();
    let mut identities = vec![address.to_owned()];
    let mut domain = address.rsplit('@').next().unwrap_or_default();
    while let Some((_, parent)) = domain.split_once('.') {
        identities.push(domain.to_lowercase());
        domain = parent;
    }
    identities
}

async fn quota(ses: &Client, diagnosis: &mut Diagnosis) -> Result<()> {
    let quota = ses.get_send_quota().send().await.context("cannot read the SES quota")?;
    let (max, sent) = (quota.max24_hour_send, quota.sent_last24_hours);
    if max < 0.0 {
        diagnosis.ok(CHECK, "the daily quota is unlimited"); // SES returns -1
    } else if max <= SANDBOX {
        let found = format!("the account is in the SES sandbox ({max} e-mails a day)");
        let advice = "SES sends to verified addresses only. Request production access (runbook, \
                      \"E-mails do not arrive\").";
        diagnosis.error(CHECK, found, advice);
    } else if sent >= max * 0.8 {
        let found = format!("{sent} of {max} e-mails a day are sent");
        diagnosis.warning(CHECK, found, "Request a higher quota.");
    } else {
        diagnosis.ok(CHECK, format!("the account is out of the SES sandbox ({max} e-mails a day)"));
    }
    Ok(())
}

async fn sending(ses: &Client, diagnosis: &mut Diagnosis) -> Result<()> {
    let response = ses.get_account_sending_enabled().send().await;
    let response = response.context("cannot read whether SES sending is enabled")?;
    let found = if response.enabled { "sending is enabled" } else { "sending is paused" };
    let advice = "SES paused the account. The SES console shows the reason.";
    diagnosis.require(response.enabled, CHECK, found, advice);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::identities;

    #[test]
    fn an_address_is_covered_by_its_domain_and_parent_domains() {
        let expected = ["no-reply@mail.Makapix.club", "mail.makapix.club", "makapix.club"];
        assert_eq!(identities("Makapix <no-reply@mail.Makapix.club>"), expected);
        assert_eq!(identities("no-reply@mail.Makapix.club"), expected);
    }
}
