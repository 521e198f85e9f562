//! One e-mail through SES, sent at most once: only a throttling response, which proves that SES sent
//! nothing, is retried. After a timeout the e-mail may have been sent, so it is not.

use std::time::Duration;

use aws_sdk_ses::Client;
use aws_sdk_ses::error::ProvideErrorMetadata;
use aws_sdk_ses::types::{Body, Content, Destination, Message};
use shared::failure::chain;

use super::{Email, recipient};
use crate::attempt::jittered;

/// Calls of SES while it throttles.
const MAX_CALLS: u32 = 4;
/// Delay after the first throttling response; doubled after each later one.
const THROTTLED_DELAY: Duration = Duration::from_secs(1);

/// The SES client with its sender.
pub struct Mailer {
    client: Client,
    sender: Option<String>,
    configuration_set: Option<String>,
}

/// The fate of an e-mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailOutcome {
    /// SES accepted it.
    Sent,
    /// The request asks for none, or it is about a failure and `EMAIL_ON_FAILURE` is `false`.
    NotWanted,
    /// It was not sent, for this reason: no sender (`EMAIL_FROM`), no usable address, or no time left.
    Skipped(&'static str),
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
            Self::Skipped(_) => "skipped",
            Self::Failed => "failed",
        }
    }

    /// Returns why the e-mail was skipped.
    pub(crate) fn skip_reason(self) -> Option<&'static str> {
        match self {
            Self::Skipped(reason) => Some(reason),
            Self::Sent | Self::NotWanted | Self::Failed => None,
        }
    }

    /// Logs why an e-mail failed.
    pub(super) fn failed(error: &str) -> Self {
        tracing::error!(error, "failed to send the e-mail");
        Self::Failed
    }
}

impl Mailer {
    /// Sends through `client`, whose own retries must be off, from `sender`, with the SES configuration
    /// set `configuration_set`.
    #[must_use]
    pub fn new(client: Client, sender: Option<String>, configuration_set: Option<String>) -> Self {
        Self { client, sender, configuration_set }
    }

    /// Sends `email` to `recipient` and logs a failure.
    pub(super) async fn send(&self, recipient: Option<&str>, email: &impl Email) -> EmailOutcome {
        let Some(sender) = &self.sender else {
            return EmailOutcome::Skipped("EMAIL_FROM is not set");
        };
        let recipient = match recipient::normalized(recipient) {
            Ok(recipient) => recipient,
            Err(reason) => return EmailOutcome::Skipped(reason),
        };
        match self.call_ses(sender, &recipient, email).await {
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
                .set_configuration_set_name(self.configuration_set.clone())
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
