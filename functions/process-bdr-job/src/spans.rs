//! The spans of an attempt: one for the whole, and one for each phase from its first beginning to its last
//! end. Phases alternate, so their spans overlap; `busy_ms` is the time of the phase itself, and adds up to the
//! duration of the attempt.

use shared::trace::{Attributes, RootSpan, Span, SpanId, SpanKind};

use crate::phases::{Phase, Phases};

/// Returns the spans of an attempt that has ended, `root` first.
pub(crate) fn of(
    root: RootSpan,
    name: &'static str,
    kind: SpanKind,
    phases: &Phases,
    attributes: Attributes,
    error: Option<&'static str>,
) -> Vec<Span> {
    let RootSpan { trace_id, span_id, parent } = root;
    let (begun, ended) = phases.window();
    let whole = Span { trace_id, span_id, parent, name, kind, begun, ended, attributes, error };
    let phase = |phase: Phase| {
        let (begun, ended) = phases.window_of(phase)?;
        let mut attributes = Attributes::default();
        attributes.number("busy_ms", phases.spent(phase).as_secs_f64() * 1e3);
        Some(Span {
            trace_id,
            span_id: SpanId::random(),
            parent: Some(span_id),
            name: phase.as_str(),
            kind: SpanKind::Internal,
            begun,
            ended,
            attributes,
            error: None,
        })
    };
    std::iter::once(whole).chain(Phase::ALL.into_iter().filter_map(phase)).collect()
}
