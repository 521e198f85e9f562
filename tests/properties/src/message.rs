//! The body of a queue message: the API writes it, but any sender with access to the queue may
//! write any text.

use serde_json::Value;
use shared::message::Message;
use uuid::Uuid;

/// Checks that a body is accepted exactly if it is a JSON object whose `bdr_id` is a UUID.
pub fn check(input: &[u8]) {
    // SQS accepts text only.
    let Ok(body) = std::str::from_utf8(input) else { return };
    let expected = serde_json::from_str::<Value>(body)
        .ok()
        .and_then(|value| value.as_object()?.get("bdr_id")?.as_str()?.parse::<Uuid>().ok());
    let read = Message::parse(body).ok();
    assert_eq!(read.map(|message| message.bdr_id), expected, "{body:?}");
    if let Some(message) = read {
        let written = serde_json::to_string(&message).unwrap();
        assert_eq!(Message::parse(&written).unwrap(), message);
    }
}
