//! The queue message that starts the processing of a request.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The body of a message, as JSON: `{"bdr_id": "<uuid>"}`. Unknown members are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The request to process: `batch_download_requests.id`.
    pub bdr_id: Uuid,
}

impl Message {
    /// Parses a message body.
    ///
    /// # Errors
    /// When the body is not JSON of that form. No attempt can process such a message.
    ///
    /// ```
    /// use shared::message::Message;
    /// let body = r#"{"bdr_id": "8c4f2a00-0000-4000-8000-000000000001", "sent_by": "api"}"#;
    /// assert_eq!(Message::parse(body).unwrap().bdr_id.as_u128() & 0xff, 1);
    /// assert!(Message::parse("not JSON").is_err());
    /// assert!(Message::parse(r#"["8c4f2a00-0000-4000-8000-000000000001"]"#).is_err());
    /// ```
    pub fn parse(body: &str) -> Result<Self, serde_json::Error> {
        // Through a map: serde would also accept a JSON array as the struct's fields.
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(body)?;
        serde_json::from_value(object.into())
    }
}
