//! The invocation: a payload in, an answer out.

use std::time::Duration;

use lambda_runtime::LambdaEvent;
use serde::Deserialize;
use serde_json::{Map, Value};
use shared::database::DatabaseError;
use shared::failure::chain;
use shared::lambda::InvocationError;
use shared::request::Requests;
use shared::vault::Vault;
use tokio::time::timeout;
use uuid::Uuid;

use crate::answer::{Answer, answer};

/// Time limit of an answer: 3 s for a connection that a pause has broken, and 3 s for a new one. It is
/// below the timeout in `template.yaml`, so that a silent database leads to an error with a cause.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);

/// The handler of invocations.
pub struct Handler {
    /// The rows of the requests.
    pub requests: Requests,
    /// The vault.
    pub vault: Vault,
    /// `DOWNLOAD_URL_TTL_SECONDS`.
    pub url_ttl: Duration,
    /// `DOWNLOAD_NAME`.
    pub download_name: String,
}

/// The payload. Unknown members are ignored.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Question {
    bdr_id: Uuid,
    user_id: i64,
}

impl Handler {
    /// Returns the answer to one invocation.
    ///
    /// # Errors
    /// When the payload is not `{"bdr_id": "<uuid>", "user_id": <int>}`, or [`answer`] fails.
    /// Lambda returns the text of the error to the API.
    pub async fn handle(&self, event: LambdaEvent<Value>) -> Result<Answer, InvocationError> {
        let question = serde_json::from_value::<Map<String, Value>>(event.payload)
            .and_then(|object| serde_json::from_value(object.into()));
        let Question { bdr_id, user_id } = question.map_err(|error| {
            tracing::error!(result = "malformed", error = %error, "payload is malformed");
            InvocationError::invalid_payload(format!(
                "the payload must be {{\"bdr_id\": \"<uuid>\", \"user_id\": <int>}}: {error}"
            ))
        })?;
        let Self { requests, vault, url_ttl, download_name } = self;
        let answering = answer(requests, vault, *url_ttl, download_name, bdr_id, user_id);
        let answered = timeout(ANSWER_TIMEOUT, answering).await.unwrap_or_else(|_| {
            Err(DatabaseError::TimedOut(ANSWER_TIMEOUT).context("failed to read the request"))
        });
        match &answered {
            // Without the answer: the URL is a secret.
            Ok(answer) => tracing::info!(%bdr_id, result = name(answer), "BDR {bdr_id}: answered"),
            Err(failure) => {
                let error = chain(failure);
                tracing::error!(%bdr_id, result = "error", error, "BDR {bdr_id}: failed to answer");
            }
        }
        Ok(answered?)
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
