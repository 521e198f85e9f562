//! The invocation: its payload in, its answer out.

use std::time::Duration;

use lambda_runtime::{Error, LambdaEvent};
use serde::Deserialize;
use serde_json::{Map, Value};
use shared::failure::chain;
use shared::request::Requests;
use shared::vault::Vault;
use uuid::Uuid;

use crate::answer::{Answer, answer};

/// Answers invocations.
pub struct Handler {
    /// The rows of the requests.
    pub requests: Requests,
    /// The vault.
    pub vault: Vault,
    /// `DOWNLOAD_URL_TTL_SECONDS`.
    pub url_ttl: Duration,
}

/// What the API asks. Unknown members are ignored.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Question {
    bdr_id: Uuid,
    user_id: i32,
}

impl Handler {
    /// Answers one invocation.
    ///
    /// # Errors
    /// When the payload is not `{"bdr_id": "<uuid>", "user_id": <int>}`, or no answer could be
    /// found; the API gets the error's text.
    pub async fn handle(&self, event: LambdaEvent<Value>) -> Result<Answer, Error> {
        let question = serde_json::from_value::<Map<String, Value>>(event.payload)
            .and_then(|object| serde_json::from_value(object.into()));
        let Question { bdr_id, user_id } = question.map_err(|error| {
            tracing::error!(result = "malformed", error = %error, "the payload is malformed");
            format!("the payload must be {{\"bdr_id\": \"<uuid>\", \"user_id\": <int>}}: {error}")
        })?;
        let found = answer(&self.requests, &self.vault, self.url_ttl, bdr_id, user_id).await;
        match &found {
            // Not the answer itself: the URL is a secret.
            Ok(answer) => tracing::info!(%bdr_id, result = name(answer), "BDR {bdr_id}: answered"),
            Err(failure) => {
                tracing::error!(%bdr_id, result = "error", error = chain(failure), "BDR {bdr_id}: failed");
            }
        }
        Ok(found?)
    }
}

fn name(answer: &Answer) -> &'static str {
    match answer {
        Answer::Ok { .. } => "ok",
        Answer::NotFound => "not_found",
        Answer::NotReady { .. } => "not_ready",
        Answer::Expired => "expired",
    }
}
