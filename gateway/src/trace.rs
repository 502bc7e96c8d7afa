//! Trace contexts: from an HTTP request to a span, and from the span to a command or a query.

use axum::http::HeaderMap;
use bus_schemas::TraceContext;
use bus_schemas::envelope::header;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The caller's trace context, if it sent a valid one.
pub fn incoming(headers: &HeaderMap) -> Option<TraceContext> {
    headers.get(header::TRACEPARENT)?.to_str().ok().and_then(TraceContext::parse)
}

/// Makes `span` a child of the caller's span, and adds the trace to its log lines.
pub fn continue_from(span: &tracing::Span, caller: TraceContext) {
    span.record("trace_id", tracing::field::display(TraceId::from_bytes(caller.trace_id)));
    let parent = SpanContext::new(
        TraceId::from_bytes(caller.trace_id),
        SpanId::from_bytes(caller.span_id),
        TraceFlags::new(caller.flags),
        true,
        TraceState::default(),
    );
    let context = opentelemetry::Context::new().with_remote_span_context(parent);
    if let Err(error) = span.set_parent(context) {
        tracing::debug!(?error, "no OpenTelemetry layer to continue the caller's trace");
    }
}

/// The trace context to send on: the current span's where OpenTelemetry records it, otherwise the caller's,
/// so that a gateway without an exporter does not break a trace.
pub fn outgoing(caller: Option<TraceContext>) -> Option<TraceContext> {
    let context = tracing::Span::current().context();
    let span = context.span();
    let current = span.span_context();
    if !current.is_valid() {
        return caller;
    }
    Some(TraceContext {
        trace_id: current.trace_id().to_bytes(),
        span_id: current.span_id().to_bytes(),
        flags: current.trace_flags().to_u8(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_traceparent_is_none_and_a_good_one_passes_without_opentelemetry() {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", "nonsense".parse().unwrap());
        assert_eq!(incoming(&headers), None);
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.insert("traceparent", text.parse().unwrap());
        let caller = incoming(&headers);
        assert_eq!(outgoing(caller).unwrap().to_traceparent(), text);
    }
}
