//! The ids of traces and spans, and the headers that pass them on.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

/// The id of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(NonZeroU128);

/// The id of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanId(NonZeroU64);

/// The span of a caller, whose trace continues here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteParent {
    /// The trace.
    pub trace_id: TraceId,
    /// The span, if the caller names it.
    pub span_id: Option<SpanId>,
}

/// The ids of the span that contains the other spans of an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootSpan {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// The span of the caller.
    pub parent: Option<SpanId>,
}

impl TraceId {
    /// Returns the trace id with this value, if it is not zero.
    pub(super) fn new(id: u128) -> Option<Self> {
        NonZeroU128::new(id).map(Self)
    }

    /// Draws a trace id.
    pub(super) fn random() -> Self {
        Self(NonZeroU128::new(fastrand::u128(..)).unwrap_or(NonZeroU128::MAX))
    }

    fn parse(hex: &str) -> Option<Self> {
        (hex.len() == 32 && is_hex(hex))
            .then(|| u128::from_str_radix(hex, 16).ok())?
            .and_then(Self::new)
    }
}

impl SpanId {
    /// Draws a span id.
    #[must_use]
    pub fn random() -> Self {
        Self(NonZeroU64::new(fastrand::u64(..)).unwrap_or(NonZeroU64::MAX))
    }

    fn parse(hex: &str) -> Option<Self> {
        let id = (hex.len() == 16 && is_hex(hex)).then(|| u64::from_str_radix(hex, 16).ok())?;
        id.and_then(NonZeroU64::new).map(Self)
    }
}

/// `from_str_radix` also accepts a sign.
fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl RemoteParent {
    /// Parses a header of a caller: `traceparent` (W3C, "Trace Context") or the tracing header of X-Ray
    /// (`Root=…;Parent=…;Sampled=1`). Returns `None` if it is malformed, or if the caller does not record its
    /// trace: then there is no span to continue.
    ///
    /// ```
    /// use shared::trace::RemoteParent;
    /// let w3c = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01";
    /// let x_ray = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    /// assert_eq!(RemoteParent::parse(w3c), RemoteParent::parse(x_ray));
    /// assert!(RemoteParent::parse("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0").is_none());
    /// ```
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        Self::of_traceparent(header).or_else(|| Self::of_x_ray(header))
    }

    fn of_traceparent(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, trace_id, span_id, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let byte = |hex: &str| {
            (hex.len() == 2 && is_hex(hex)).then(|| u8::from_str_radix(hex, 16).ok()).flatten()
        };
        let version = byte(version)?;
        // Later versions may add parts; 255 is invalid.
        let is_known = version != 255 && (version > 0 || parts.next().is_none());
        let is_sampled = byte(flags)? & 1 == 1;
        let span_id = Some(SpanId::parse(span_id)?);
        (is_known && is_sampled).then_some(Self { trace_id: TraceId::parse(trace_id)?, span_id })
    }

    fn of_x_ray(header: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut fields = header.split(';').filter_map(|field| field.trim().split_once('='));
            fields.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let (time, random) = field("Root")?.strip_prefix("1-")?.split_once('-')?;
        let trace_id = TraceId::parse(&[time, random].concat()).filter(|_| time.len() == 8)?;
        let span_id = match field("Parent") {
            Some(parent) => Some(SpanId::parse(parent)?),
            None => None,
        };
        (field("Sampled") == Some("1")).then_some(Self { trace_id, span_id })
    }
}

impl RootSpan {
    /// Returns the header with which another function continues the trace under this span.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }
}

#[cfg(test)]
mod tests {
    use super::RemoteParent;

    #[test]
    fn headers_of_both_forms_are_parsed() {
        let ids = |header| {
            let RemoteParent { trace_id, span_id } = RemoteParent::parse(header)?;
            Some((trace_id.to_string(), span_id.map(|id| id.to_string())))
        };
        let trace = "0af7651916cd43dd8448eb211c80319c".to_owned();
        let parent = Some("b7ad6b7169203331".to_owned());
        for header in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-ff",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1",
            "Sampled=1; Parent=b7ad6b7169203331; Root=1-0af76519-16cd43dd8448eb211c80319c; Lineage=a:0",
        ] {
            assert_eq!(ids(header), Some((trace.clone(), parent.clone())), "{header}");
        }
        let without_parent = "Root=1-0af76519-16cd43dd8448eb211c80319c;Sampled=1";
        assert_eq!(ids(without_parent), Some((trace, None)));
    }

    #[test]
    fn other_headers_are_ignored() {
        for header in [
            "",
            "-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331",
            "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=?",
            "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=x;Sampled=1",
            "Root=2-0af76519-16cd43dd8448eb211c80319c;Sampled=1",
            "Root=1-0af7651916cd43dd8448-eb211c80319c;Sampled=1",
            "Root=1-0af76519-16cd43dd8448eb211c8031\u{e9};Sampled=1",
        ] {
            assert_eq!(RemoteParent::parse(header), None, "{header}");
        }
    }
}
