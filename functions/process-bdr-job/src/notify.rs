//! The e-mail about a ready request, sent again because an operator asks for it.
//!
//! The event is `{"notify": {"bdr_id": "<uuid>"}}`, and no queue sends it. Its e-mail is a second one on
//! purpose, so this changes no row and takes nothing over. It sends the e-mail of the `ready` row and
//! never that of a failure, whose message the functions' role may not read.

use lambda_runtime::LambdaEvent;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::failure::{Failure, chain};
use shared::lambda::{InvocationError, time_left};
use shared::message::Message;
use shared::request::{RequestRow, RequestState};
use shared::vault::ArchiveKey;
use tokio::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::attempt::Attempt;
use crate::export::{ExportAnswer, ExportEvent};
use crate::handler::{BatchResponse, Handler};
use crate::job::Job;
use crate::load::Recipient;

/// The response to an event.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Response {
    /// To an event of SQS.
    Batch(BatchResponse),
    /// To an operator.
    Notified(NotifyAnswer),
    /// To the state machine of large exports.
    Exported(ExportAnswer),
}

/// The answer to an operator.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum NotifyAnswer {
    /// The row is `ready`.
    Ok {
        /// What happened to the e-mail, as in the outcome line.
        email: &'static str,
        /// Why it was skipped.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'static str>,
    },
    /// There is no such row.
    NotFound,
    /// The row is not `ready`.
    NotReady {
        /// Its state.
        bdr_status: String,
    },
    /// The archive has expired or is gone.
    Expired,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NotifyEvent {
    notify: Message,
}

impl Handler {
    /// Responds to an event of SQS, of an operator, or of the state machine of large exports.
    ///
    /// # Errors
    /// When the event is none of these, when the e-mail of an operator's event cannot be prepared, or when
    /// the state machine must try again.
    pub async fn respond(&self, event: LambdaEvent<Value>) -> Result<Response, InvocationError> {
        if let Some(export) = ExportEvent::parse(&event.payload) {
            return self.export(export?, &event).await.map(Response::Exported);
        }
        if event.payload.get("notify").is_none() {
            return self.handle(event).await.map(Response::Batch);
        }
        let attempt = Attempt {
            receive_count: 1,
            max_receive_count: self.max_receive_count,
            sent_at: None,
            begun_at: Instant::now(),
            deadline: Instant::now() + time_left(&event.context, &self.clock),
            retry_base: self.retry_base,
            span: None,
        };
        let NotifyEvent { notify: Message { bdr_id } } = serde_json::from_value(event.payload)
            .map_err(|error| {
                let accepted = "{\"notify\": {\"bdr_id\": \"<uuid>\"}}";
                InvocationError::invalid_payload(format!("the event must be {accepted}: {error}"))
            })?;
        let notified = async {
            let answer = self.job.notify_again(bdr_id, attempt.email_stop_at()).await;
            match &answer {
                Ok(answer) => tracing::info!(
                    answer = ?answer,
                    "BDR {bdr_id}: handled an operator's request for the e-mail"
                ),
                Err(failure) => {
                    tracing::error!(
                        error = chain(failure),
                        "BDR {bdr_id}: failed to send the e-mail again"
                    );
                }
            }
            answer
        };
        let notified = notified.instrument(tracing::info_span!("notify", %bdr_id)).await;
        Ok(Response::Notified(notified?))
    }
}

impl Job {
    /// Sends the e-mail of a ready request, and gives up at `stop_at`.
    async fn notify_again(&self, bdr_id: Uuid, stop_at: Instant) -> Result<NotifyAnswer, Failure> {
        let row = self.requests.row(bdr_id).await;
        let row = row.map_err(|error| error.context("failed to read the request"))?;
        let Some(RequestRow { claim, status, file_path, expires_at, now }) = row else {
            return Ok(NotifyAnswer::NotFound);
        };
        match RequestState::parse(&status) {
            Some(RequestState::Ready) => {}
            Some(RequestState::Expired) => return Ok(NotifyAnswer::Expired),
            _ => return Ok(NotifyAnswer::NotReady { bdr_status: status }),
        }
        let Some(expires_at) = expires_at.filter(|expires_at| *expires_at > now) else {
            return Ok(NotifyAnswer::Expired);
        };
        let key = file_path.as_deref().and_then(ArchiveKey::parse);
        let archive = match key {
            Some(key) => self.archiver.stored(&claim, &key).await?,
            None => None,
        };
        let Some(archive) = archive else { return Ok(NotifyAnswer::Expired) };
        let recipient = match claim.user_id {
            Some(user_id) => Recipient::find(&self.database, &self.sqids, user_id).await,
            None => Ok(None),
        };
        let recipient = recipient.map_err(|error| error.context("failed to look the artist up"))?;
        let email =
            self.notifier.notify_ready(&claim, recipient, &archive, expires_at, stop_at).await;
        Ok(NotifyAnswer::Ok { email: email.as_str(), reason: email.skip_reason() })
    }
}
