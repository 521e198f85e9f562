//! Spans, and their JSON form (OpenTelemetry Protocol, "JSON Protobuf Encoding"): ids in hexadecimal, 64-bit
//! integers as strings, enumerations as numbers, names in lowerCamelCase.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::context::{SpanId, TraceId};

/// The function that the spans are of.
#[derive(Clone)]
pub(super) struct Resource {
    /// Name of the function.
    pub(super) service: &'static str,
    /// Name of the stack.
    pub(super) stack: Arc<str>,
}

/// A span that has ended.
#[derive(Debug)]
pub struct Span {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// The span that contains it.
    pub parent: Option<SpanId>,
    /// The name, one of a few.
    pub name: &'static str,
    /// The kind.
    pub kind: SpanKind,
    /// The beginning.
    pub begun: Instant,
    /// The end.
    pub ended: Instant,
    /// The attributes.
    pub attributes: Attributes,
    /// The description of a failure. It is a constant, so that it contains no data of artists.
    pub error: Option<&'static str>,
}

/// The kind of a span (`Span.SpanKind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// A part of other work.
    Internal = 1,
    /// The response to a caller that waits.
    Server = 2,
    /// The processing of a message.
    Consumer = 5,
}

/// The code of a status of a failure (`Status.StatusCode`). Without a status a span has not failed.
const STATUS_ERROR: u8 = 2;

/// The attributes of a span.
#[derive(Debug, Default)]
pub struct Attributes(Vec<Value>);

impl Attributes {
    /// Adds text.
    pub fn text(&mut self, key: &str, value: impl Into<String>) {
        self.add(key, json!({ "stringValue": value.into() }));
    }

    /// Adds an integer, which is signed in the protocol.
    pub fn integer(&mut self, key: &str, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.add(key, json!({ "intValue": value.to_string() }));
    }

    /// Adds a number.
    pub fn number(&mut self, key: &str, value: f64) {
        self.add(key, json!({ "doubleValue": value }));
    }

    /// Adds `true` or `false`.
    pub fn flag(&mut self, key: &str, value: bool) {
        self.add(key, json!({ "boolValue": value }));
    }

    fn add(&mut self, key: &str, value: Value) {
        let members = [("key".to_owned(), key.into()), ("value".to_owned(), value)];
        self.0.push(Value::Object(Map::from_iter(members)));
    }
}

/// Returns an `ExportTraceServiceRequest`. `now` is one time by both clocks.
pub(super) fn encode(
    resource: &Resource,
    spans: &[Span],
    now: (Instant, OffsetDateTime),
) -> Vec<u8> {
    let mut attributes = Attributes::default();
    attributes.text("service.name", resource.service);
    attributes.text("service.namespace", &*resource.stack);
    attributes.text("service.version", env!("CARGO_PKG_VERSION"));
    let spans: Vec<_> = spans.iter().map(|span| value(span, now)).collect();
    let request = json!({ "resourceSpans": [{
        "resource": { "attributes": attributes.0 },
        "scopeSpans": [{ "scope": { "name": resource.service }, "spans": spans }],
    }] });
    request.to_string().into_bytes()
}

fn value(span: &Span, now: (Instant, OffsetDateTime)) -> Value {
    let mut value = json!({
        "traceId": span.trace_id.to_string(),
        "spanId": span.span_id.to_string(),
        "name": span.name,
        "kind": span.kind as u8,
        "startTimeUnixNano": unix_nanos(span.begun, now),
        "endTimeUnixNano": unix_nanos(span.ended, now),
        "attributes": span.attributes.0,
    });
    if let Some(parent) = span.parent {
        value["parentSpanId"] = parent.to_string().into();
    }
    if let Some(error) = span.error {
        value["status"] = json!({ "code": STATUS_ERROR, "message": error });
    }
    value
}

/// Returns nanoseconds since 1970.
fn unix_nanos(at: Instant, (now, time): (Instant, OffsetDateTime)) -> String {
    (time - now.saturating_duration_since(at)).unix_timestamp_nanos().to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};
    use time::macros::datetime;
    use tokio::time::Instant;

    use super::{Attributes, Resource, Span, SpanKind, encode};
    use crate::trace::RemoteParent;

    #[test]
    fn spans_have_the_json_form_of_the_protocol() {
        let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let RemoteParent { trace_id, span_id } = RemoteParent::parse(header).unwrap();
        let mut attributes = Attributes::default();
        attributes.text("bdr_id", "x");
        attributes.integer("size_bytes", u64::MAX);
        attributes.number("busy_ms", 1.5);
        attributes.flag("adopted", false);
        let ended = Instant::now();
        let span = Span {
            trace_id,
            span_id: span_id.unwrap(),
            parent: span_id,
            name: "attempt",
            kind: SpanKind::Consumer,
            begun: ended,
            ended: ended + Duration::from_millis(1),
            attributes,
            error: Some("request failed"),
        };
        let resource = Resource { service: "process-bdr-job", stack: "prod".into() };
        let now = (ended + Duration::from_millis(2), datetime!(2026-11-30 17:45:59.002 UTC));
        let body: Value = serde_json::from_slice(&encode(&resource, &[span], now)).unwrap();
        let expected = json!({ "resourceSpans": [{
            "resource": { "attributes": [
                { "key": "service.name", "value": { "stringValue": "process-bdr-job" } },
                { "key": "service.namespace", "value": { "stringValue": "prod" } },
                {
                    "key": "service.version",
                    "value": { "stringValue": env!("CARGO_PKG_VERSION") },
                },
            ] },
            "scopeSpans": [{ "scope": { "name": "process-bdr-job" }, "spans": [{
                "traceId": "0af7651916cd43dd8448eb211c80319c",
                "spanId": "b7ad6b7169203331",
                "parentSpanId": "b7ad6b7169203331",
                "name": "attempt",
                "kind": 5,
                "startTimeUnixNano": "1796060759000000000",
                "endTimeUnixNano": "1796060759001000000",
                "attributes": [
                    { "key": "bdr_id", "value": { "stringValue": "x" } },
                    { "key": "size_bytes", "value": { "intValue": "9223372036854775807" } },
                    { "key": "busy_ms", "value": { "doubleValue": 1.5 } },
                    { "key": "adopted", "value": { "boolValue": false } },
                ],
                "status": { "code": 2, "message": "request failed" },
            }] }],
        }] });
        assert_eq!(body, expected);
    }
}
