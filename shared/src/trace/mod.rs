//! Traces in the format of OpenTelemetry: spans that a function sends to a collector when its work has ended
//! (ADR 16).
//!
//! Without a collector tracing is off: no id is drawn, no span is made and no connection is opened. The spans
//! are made of instants that the function measures in any case. A collector that is absent, slow or broken
//! costs at most [`SEND_LIMIT`] and one line of the log.

mod collector;
mod context;
mod otlp;

use std::time::Duration;

use tokio::time::{Instant, timeout};
use uuid::Uuid;

pub use collector::Endpoint;
pub use context::{RemoteParent, RootSpan, SpanId, TraceId};
pub use otlp::{Attributes, Span, SpanKind};

use crate::aws::Trust;
use crate::clock::Clock;
use collector::Collector;
use otlp::Resource;

/// Maximum time that an invocation waits for the collector. A collector on the same machine responds within
/// milliseconds.
pub const SEND_LIMIT: Duration = Duration::from_millis(500);

/// The tracing of a function.
#[derive(Clone)]
pub struct Tracer(Option<On>);

#[derive(Clone)]
struct On {
    clock: Clock,
    collector: Collector,
    resource: Resource,
}

impl Tracer {
    /// Returns the tracing of the function `service` of `stack`, with the collector at `endpoint`. Without an
    /// endpoint, tracing is off.
    #[must_use]
    pub fn new(
        endpoint: Option<Endpoint>,
        trust: &Trust,
        clock: Clock,
        service: &'static str,
        stack: &str,
    ) -> Self {
        Self(endpoint.map(|endpoint| On {
            clock,
            collector: Collector::new(endpoint, trust),
            resource: Resource { service, stack: stack.into() },
        }))
    }

    /// Draws the ids of a root span, unless tracing is off. The span continues the trace of the first of
    /// `callers`, headers in either form of [`RemoteParent::parse`], that is sampled. Without one, the trace
    /// has the UUID `id` as its id, so that all invocations with this id are in one trace.
    #[must_use]
    pub fn begin(&self, callers: &[Option<&str>], id: &str) -> Option<RootSpan> {
        self.0.as_ref()?;
        let parent = callers.iter().flatten().find_map(|header| RemoteParent::parse(header));
        let by_id = || TraceId::new(Uuid::try_parse(id).ok()?.as_u128());
        Some(RootSpan {
            trace_id: parent
                .map(|parent| parent.trace_id)
                .or_else(by_id)
                .unwrap_or_else(TraceId::random),
            span_id: SpanId::random(),
            parent: parent.and_then(|parent| parent.span_id),
        })
    }

    /// Sends spans that have ended, and waits for at most [`SEND_LIMIT`] and half of the time until
    /// `deadline`. Logs a warning if the collector does not accept them.
    pub async fn send(&self, spans: &[Span], deadline: Instant) {
        let Some(On { clock, collector, resource }) = &self.0 else { return };
        if spans.is_empty() {
            return;
        }
        let body = otlp::encode(resource, spans, (Instant::now(), clock.now()));
        let limit = SEND_LIMIT.min(deadline.saturating_duration_since(Instant::now()) / 2);
        let error = match timeout(limit, collector.send(body)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_) => format!("the collector did not respond within {} ms", limit.as_millis()),
        };
        tracing::warn!(error, "failed to send the trace");
    }
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, Tracer};
    use crate::aws::Trust;
    use crate::clock::Clock;
    use crate::config::Environment;

    fn tracer(endpoint: Option<&str>) -> Tracer {
        let trust = Trust::from_environment(&Environment::of([("", ""); 0])).unwrap();
        let endpoint = endpoint.map(|url| Endpoint::parse(url).unwrap());
        Tracer::new(endpoint, &trust, Clock::system(), "test", "stack")
    }

    #[test]
    fn a_root_span_continues_the_first_sampled_caller() {
        const ID: &str = "8c4f2a00-0000-4000-8000-000000000001";
        let tracer_on = tracer(Some("http://localhost:4318"));
        let begin = |callers: &[Option<&str>], id| {
            let root = tracer_on.begin(callers, id).unwrap();
            (root.trace_id.to_string(), root.parent.map(|parent| parent.to_string()))
        };
        let sampled = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let continued =
            ("5759e988bd862e3fe1be46a994272793".to_owned(), Some("53995c3f42cd8ad8".to_owned()));
        assert_eq!(begin(&[None, Some(unsampled), Some(sampled)], ID), continued);
        let own = ("8c4f2a00000040008000000000000001".to_owned(), None);
        assert_eq!(begin(&[Some(unsampled), None], ID), own);
        assert_ne!(begin(&[], "no id"), begin(&[], "no id"));
        let [one, two] = [(); 2].map(|()| tracer_on.begin(&[], ID).unwrap().span_id);
        assert_ne!(one, two);
        assert!(tracer(None).begin(&[Some(sampled)], ID).is_none(), "tracing is off");
    }
}
