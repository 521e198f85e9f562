//! A collector of traces. It checks what it receives against the protocol.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use local_stack::remote::RemoteHost;
use serde_json::Value;

/// A collector on this machine, until it is dropped.
pub struct Collector {
    host: RemoteHost,
    requests: Arc<Mutex<Vec<Bytes>>>,
}

/// A span that a collector received.
#[derive(Debug, Clone)]
pub struct ReceivedSpan {
    /// The span.
    pub span: Value,
    /// The attributes of the function.
    pub resource: Vec<(String, Value)>,
}

impl Default for Collector {
    fn default() -> Self {
        Self::start()
    }
}

impl Collector {
    /// Starts a collector.
    #[must_use]
    pub fn start() -> Self {
        let requests = Arc::<Mutex<Vec<_>>>::default();
        let received = Arc::clone(&requests);
        let receive = async move |headers: HeaderMap, body: Bytes| {
            if headers["content-type"] != "application/json" {
                return StatusCode::UNSUPPORTED_MEDIA_TYPE;
            }
            received.lock().unwrap().push(body);
            StatusCode::OK
        };
        let host = RemoteHost::with_routes(Router::new().route("/v1/traces", post(receive)));
        Self { host: host.unwrap(), requests }
    }

    /// Returns the base URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.host.url("")
    }

    /// Returns the bodies of the requests so far.
    #[must_use]
    pub fn bodies(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().map(|body| String::from_utf8(body.to_vec()).unwrap()).collect()
    }

    /// Returns the spans of each request so far.
    #[must_use]
    pub fn traces(&self) -> Vec<Vec<ReceivedSpan>> {
        self.bodies().iter().map(|body| spans(body)).collect()
    }
}

impl ReceivedSpan {
    /// Returns a member of the span as text, such as `traceId`.
    #[must_use]
    pub fn text(&self, member: &str) -> &str {
        self.span[member].as_str().unwrap_or_default()
    }

    /// Returns an attribute: text, an integer, a number or a flag.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<Value> {
        let attributes = attributes(&self.span["attributes"]);
        attributes.into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Returns the beginning and the end in nanoseconds since 1970.
    #[must_use]
    pub fn window(&self) -> (u64, u64) {
        let nanos = |member| self.text(member).parse().unwrap();
        (nanos("startTimeUnixNano"), nanos("endTimeUnixNano"))
    }
}

/// Parses an `ExportTraceServiceRequest`, and checks it (OpenTelemetry Protocol, "JSON Protobuf Encoding").
fn spans(body: &str) -> Vec<ReceivedSpan> {
    let body: Value = serde_json::from_str(body).unwrap();
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let [of_resource] = &list(&body["resourceSpans"])[..] else { panic!("{body}") };
    let resource = attributes(&of_resource["resource"]["attributes"]);
    let [of_scope] = &list(&of_resource["scopeSpans"])[..] else { panic!("{body}") };
    let spans = list(&of_scope["spans"]);
    assert!(!spans.is_empty(), "an empty request: {body}");
    spans.iter().for_each(check);
    spans.into_iter().map(|span| ReceivedSpan { span, resource: resource.clone() }).collect()
}

fn check(span: &Value) {
    /// The fields of a span that are sent.
    const FIELDS: [&str; 9] = [
        "traceId",
        "spanId",
        "parentSpanId",
        "name",
        "kind",
        "startTimeUnixNano",
        "endTimeUnixNano",
        "attributes",
        "status",
    ];
    for name in span.as_object().unwrap().keys() {
        assert!(FIELDS.contains(&name.as_str()), "{name} of {span}");
    }
    for (name, digits) in [("traceId", 32), ("spanId", 16), ("parentSpanId", 16)] {
        let is_absent = name == "parentSpanId" && span.get(name).is_none();
        let is_id = |id: &str| {
            id.len() == digits
                && id.bytes().all(|byte| byte.is_ascii_hexdigit())
                && id.bytes().any(|byte| byte != b'0')
        };
        assert!(is_absent || span[name].as_str().is_some_and(is_id), "{name} of {span}");
    }
    assert!(span["name"].as_str().is_some_and(|name| !name.is_empty()), "{span}");
    assert!(span["kind"].as_u64().is_some_and(|kind| (1..=5).contains(&kind)), "{span}");
    for name in ["startTimeUnixNano", "endTimeUnixNano"] {
        assert!(
            span[name].as_str().is_some_and(|at| at.parse::<u64>().is_ok()),
            "{name} of {span}"
        );
    }
    assert!(span.get("status").is_none_or(|status| status["code"] == 2), "{span}");
    attributes(&span["attributes"]);
}

/// Returns attributes with their values.
fn attributes(attributes: &Value) -> Vec<(String, Value)> {
    let attribute = |attribute: &Value| {
        let value = attribute["value"].as_object().unwrap();
        assert_eq!(value.len(), 1, "one value: {attribute}");
        let value = match value.iter().next().unwrap() {
            (kind, Value::String(text)) if kind == "stringValue" => text.as_str().into(),
            // 64-bit integers are strings.
            (kind, Value::String(text)) if kind == "intValue" => {
                text.parse::<i64>().unwrap().into()
            }
            (kind, value @ Value::Number(_)) if kind == "doubleValue" => value.clone(),
            (kind, value @ Value::Bool(_)) if kind == "boolValue" => value.clone(),
            _ => panic!("not a value: {attribute}"),
        };
        (attribute["key"].as_str().unwrap().to_owned(), value)
    };
    attributes.as_array().unwrap().iter().map(attribute).collect()
}
