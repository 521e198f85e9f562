//! One e-mail through SES, sent at most once: only a throttling response, which proves that SES sent
//! nothing, is retried. After a timeout the e-mail may have been sent, so it is not.

use std::time::Duration;

use aws_sdk_ses::Client;
use aws_sdk_ses::error::ProvideErrorMetadata;
use aws_sdk_ses::types::{Body, Content, Destination, Message};
use shared::failure::chain;

use super::Email;
use crate::attempt::jittered;

/// Calls of SES while it throttles.
const MAX_CALLS: u32 = 4;
/// Delay after the first throttling response; doubled after each later one.
const THROTTLED_DELAY: Duration = Duration::from_secs(1);

/// The SES client with its sender.
pub struct Mailer {
    client: Client,
    sender: Option<String>,
}

/// The fate of an e-mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailOutcome {
    /// SES accepted it.
    Sent,
    /// The request asks for none, or it is about a failure and `EMAIL_ON_FAILURE` is `false`.
    NotWanted,
    /// It was not sent: no sender (`EMAIL_FROM`), no recipient, or no time left. The log says which.
    Skipped,
    /// SES rejected it or did not respond.
    Failed,
}

impl EmailOutcome {
    /// Returns the value of `email` in the outcome line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::NotWanted => "not wanted",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }

    /// Logs why an e-mail is skipped.
    pub(super) fn skipped(reason: &str) -> Self {
        tracing::info!("skipped the e-mail: {reason}");
        Self::Skipped
    }

    /// Logs why an e-mail failed.
    pub(super) fn failed(error: &str) -> Self {
        tracing::error!(error, "failed to send the e-mail");
        Self::Failed
    }
}

impl Mailer {
    /// Sends through `client`, whose own retries must be off, from `sender`.
    #[must_use]
    pub fn new(client: Client, sender: Option<String>) -> Self {
        Self { client, sender }
    }

    /// Sends `email` to `recipient` and logs a failure.
    pub(super) async fn send(&self, recipient: Option<&str>, email: &impl Email) -> EmailOutcome {
        let Some(sender) = &self.sender else {
            return EmailOutcome::skipped("EMAIL_FROM is not set");
        };
        let Some(recipient) = recipient.filter(|address| !address.is_empty()) else {
            return EmailOutcome::skipped("the artist has no address");
        };
        match self.call_ses(sender, recipient, email).await {
            Ok(()) => EmailOutcome::Sent,
            Err(error) => EmailOutcome::failed(&error),
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
        for call in 1.. {
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
            if !throttled || call == MAX_CALLS {
                return Err(without_addresses(&error));
            }
            tokio::time::sleep(jittered(THROTTLED_DELAY * 2_u32.pow(call - 1))).await;
        }
        Ok(())
    }
}

fn content(data: String) -> Result<Content, String> {
    Content::builder().charset("UTF-8").data(data).build().map_err(|error| error.to_string())
}

/// Returns the error for the log. SES quotes addresses in its messages ("Email address is not
/// verified: …"), so only the code of a response is logged.
fn without_addresses<E>(error: &aws_sdk_ses::error::SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error.code() {
        Some(code) => format!("SES answered {code}"),
        None => chain(error),
    }
}
