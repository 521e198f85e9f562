//! Telling the artist, at most once: SES is called once, and again only when it answered that it
//! is too busy. After a timeout nobody knows whether the e-mail went out, so it is not tried again.

use std::time::Duration;

use aws_sdk_ses::Client;
use aws_sdk_ses::error::ProvideErrorMetadata;
use aws_sdk_ses::types::{Body, Content, Destination, Message};
use shared::clock::Clock;
use shared::failure::chain;
use shared::metrics;

use crate::artwork::jittered;
use crate::email::ReadyEmail;

/// Times SES is asked when it throttles.
const MOST_TRIES: u32 = 4;
/// Delay after the first throttling answer; doubled for each later one.
const THROTTLED_DELAY: Duration = Duration::from_secs(1);

/// What became of an e-mail, as the outcome line of a job says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailOutcome {
    /// SES took it.
    Sent,
    /// The artist did not ask for one.
    NotWanted,
    /// There is no sender (`EMAIL_FROM`), or the artist has no address.
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
    clock: Clock,
}

impl Notifier {
    /// Through this client, whose own retries must be off, from `sender`.
    #[must_use]
    pub fn new(client: Client, sender: Option<String>, clock: Clock) -> Self {
        Self { client, sender, clock }
    }

    /// Sends `email` to `recipient`. A failure is logged and counted; it never fails the job.
    pub async fn ready(&self, recipient: Option<&str>, email: &ReadyEmail<'_>) -> EmailOutcome {
        let Some(sender) = &self.sender else {
            tracing::info!("no e-mail is sent: EMAIL_FROM is not set");
            return EmailOutcome::Skipped;
        };
        let Some(recipient) = recipient.filter(|address| !address.is_empty()) else {
            tracing::info!("no e-mail is sent: the artist has no address");
            return EmailOutcome::Skipped;
        };
        match self.send(sender, recipient, email).await {
            Ok(()) => EmailOutcome::Sent,
            Err(error) => {
                tracing::error!(error, "failed to send the e-mail");
                metrics::count(metrics::EMAIL_FAILED, 1, &self.clock);
                EmailOutcome::Failed
            }
        }
    }

    async fn send(
        &self,
        sender: &str,
        recipient: &str,
        email: &ReadyEmail<'_>,
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
            if !throttled || made == MOST_TRIES {
                return Err(without_addresses(&error));
            }
            tokio::time::sleep(jittered(THROTTLED_DELAY * 2_u32.pow(made - 1))).await;
        }
        Ok(())
    }
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
