//! Telling the artist, at most once: SES is called once, and again only when it answered that it
//! is too busy. After a timeout nobody knows whether the e-mail went out, so it is not tried again.

use std::time::Duration;

use aws_sdk_ses::Client;
use aws_sdk_ses::error::ProvideErrorMetadata;
use aws_sdk_ses::types::{Body, Content, Destination, Message};
use shared::failure::{Failure, chain};
use shared::request::Claim;
use tokio::time::{Instant, timeout_at};

use crate::artist::Recipient;
use crate::artwork::jittered;
use crate::attempt::Attempt;
use crate::email::{Email, FailedEmail};
use crate::gather::without_duplicates;
use crate::job::Job;

/// Times SES is asked when it throttles.
const MAX_TRIES: u32 = 4;
/// Delay after the first throttling answer; doubled for each later one.
const THROTTLED_DELAY: Duration = Duration::from_secs(1);

/// What became of an e-mail, as the outcome line of a job says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailOutcome {
    /// SES took it.
    Sent,
    /// The artist did not ask for one, or it is about a failure and `EMAIL_ON_FAILURE` is `false`.
    NotWanted,
    /// There is no sender (`EMAIL_FROM`), the artist or their address is not to be had, or no time
    /// is left. The log says which.
    Skipped,
    /// SES did not take it, or did not say.
    Failed,
}

impl EmailOutcome {
    /// As it stands in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::NotWanted => "not wanted",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

/// Sends e-mails.
pub struct Notifier {
    client: Client,
    sender: Option<String>,
}

impl Notifier {
    /// Through this client, whose own retries must be off, from `sender`.
    #[must_use]
    pub fn new(client: Client, sender: Option<String>) -> Self {
        Self { client, sender }
    }

    /// Sends `email` to `recipient`. A failure is logged; it never fails the job.
    pub async fn send(&self, recipient: Option<&str>, email: &impl Email) -> EmailOutcome {
        let Some(sender) = &self.sender else {
            return skipped("EMAIL_FROM is not set");
        };
        let Some(recipient) = recipient.filter(|address| !address.is_empty()) else {
            return skipped("the artist has no address");
        };
        match self.call_ses(sender, recipient, email).await {
            Ok(()) => EmailOutcome::Sent,
            Err(error) => failed(&error),
        }
    }

    async fn call_ses(
        &self,
        sender: &str,
        recipient: &str,
        email: &impl Email,
    ) -> Result<(), String> {
        let rendered = |body: Result<String, askama::Error>| {
            body.map_err(|error| error.to_string()).and_then(content)
        };
        let message = Message::builder()
            .subject(content(email.subject())?)
            .body(
                Body::builder().html(rendered(email.html())?).text(rendered(email.text())?).build(),
            )
            .build();
        for made in 1.. {
            let sent = self
                .client
                .send_email()
                .source(sender)
                .destination(Destination::builder().to_addresses(recipient).build())
                .message(message.clone())
                .send()
                .await;
            let Err(error) = sent else { break };
            let throttled = error.code().is_some_and(|code| code.starts_with("Throttling"));
            if !throttled || made == MAX_TRIES {
                return Err(without_addresses(&error));
            }
            tokio::time::sleep(jittered(THROTTLED_DELAY * 2_u32.pow(made - 1))).await;
        }
        Ok(())
    }
}

impl Job {
    /// Tells the artist that the request has failed for good. Only the attempt that marked the row
    /// `failed` calls this, so there is at most one such e-mail. Whatever goes wrong here changes
    /// nothing about the request or its message.
    pub(crate) async fn tell_of_failure(
        &self,
        claim: &Claim,
        failure: &Failure,
        attempt: &Attempt,
    ) -> EmailOutcome {
        if !claim.send_email || !self.email_on_failure {
            return EmailOutcome::NotWanted;
        }
        let until = attempt.email_until();
        if Instant::now() >= until {
            return skipped("no time is left before the deadline");
        }
        // The failure may have come before the artist was loaded.
        let recipient = match timeout_at(until, self.recipient(claim)).await {
            Ok(Ok(recipient)) => recipient,
            Ok(Err(why)) => return skipped(&why),
            Err(_) => return skipped("the artist could not be looked up before the deadline"),
        };
        let link = match &recipient.sqid {
            Some(sqid) => format!("{}/u/{sqid}/posts", self.base_url),
            None => self.base_url.clone(),
        };
        let email = FailedEmail {
            handle: &recipient.handle,
            requested: without_duplicates(&claim.post_ids).len(),
            message: &failure.artist_message(),
            link: &link,
        };
        timeout_at(until, self.notifier.send(recipient.email.as_deref(), &email))
            .await
            .unwrap_or_else(|_| failed("SES did not answer before the deadline"))
    }

    /// The artist, or why they are not to be had.
    async fn recipient(&self, claim: &Claim) -> Result<Recipient, String> {
        let user_id = claim.user_id.ok_or("the request names no artist")?;
        Recipient::find(&self.database, &self.sqids, user_id)
            .await
            .map_err(|error| chain(&error))?
            .ok_or_else(|| "there is no such artist".to_owned())
    }
}

fn failed(error: &str) -> EmailOutcome {
    tracing::error!(error, "failed to send the e-mail");
    EmailOutcome::Failed
}

fn skipped(why: &str) -> EmailOutcome {
    tracing::info!("no e-mail is sent: {why}");
    EmailOutcome::Skipped
}

fn content(data: String) -> Result<Content, String> {
    Content::builder().charset("UTF-8").data(data).build().map_err(|error| error.to_string())
}

/// The error for the log. SES quotes addresses in its messages ("Email address is not verified:
/// …"), so of an answer only the code is told.
fn without_addresses<E>(error: &aws_sdk_ses::error::SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error.code() {
        Some(code) => format!("SES answered {code}"),
        None => chain(error),
    }
}
