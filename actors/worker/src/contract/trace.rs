//! W3C trace context in and out of `tracing` spans, and the span of a job.
//!
//! Without an OpenTelemetry layer spans have no context; then the job's own context is passed on, so that the
//! causal chain in the log stays complete.

use bus_schemas::TraceContext;
use bus_schemas::commands::task::Command;
use bus_schemas::jobs::Job;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The span of one job: a child of the decision that issued it, with the attributes of OpenTelemetry's
/// conventions for agents and for messages. `queue` is the subject on which the job arrived.
pub(crate) fn job_span(job: &Job, queue: &str, parent: Option<TraceContext>) -> Span {
    let span = tracing::info_span!(
        "effects",
        otel.name = format!("invoke_agent {}", job.agent),
        otel.kind = "consumer",
        otel.status_code = field::Empty,
        error.type = field::Empty,
        gen_ai.operation.name = "invoke_agent",
        gen_ai.agent.name = %job.agent,
        gen_ai.conversation.id = %job.task.key.root(),
        messaging.system = "nats",
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.destination.name = queue,
        messaging.message.id = %job.id,
        messaging.message.conversation_id = %job.correlation,
        task = %job.task.key,
        attempt = job.attempt,
        skill = %job.skill,
        correlation_id = %job.correlation,
        // For log lines of processes that export no spans.
        trace_id = field::Empty,
    );
    if let Some(parent) = parent {
        span.record("trace_id", field::display(TraceId::from_bytes(parent.trace_id)));
    }
    continue_trace(&span, parent);
    span
}

/// Records on the current span how its attempt ended.
pub(crate) fn note_report(report: &Command) {
    if let Command::FailJob { code, .. } = report {
        Span::current().record("otel.status_code", "ERROR");
        Span::current().record("error.type", code.as_str());
    }
}

/// Makes `span` a child of the span that sent the message.
fn continue_trace(span: &Span, parent: Option<TraceContext>) {
    let Some(parent) = parent else { return };
    let context = SpanContext::new(
        TraceId::from_bytes(parent.trace_id),
        SpanId::from_bytes(parent.span_id),
        TraceFlags::new(parent.flags),
        true,
        TraceState::default(),
    );
    let set = span.set_parent(opentelemetry::Context::new().with_remote_span_context(context));
    // Without the layer this fails harmlessly; with it the span is new and still open.
    drop(set);
}

/// The current span's context, or `otherwise` when it has none.
pub(crate) fn current_trace(otherwise: Option<TraceContext>) -> Option<TraceContext> {
    let context = Span::current().context();
    let span = context.span();
    let found = span.span_context();
    if !found.is_valid() {
        return otherwise;
    }
    Some(TraceContext {
        trace_id: found.trace_id().to_bytes(),
        span_id: found.span_id().to_bytes(),
        flags: found.trace_flags().to_u8(),
    })
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    const PARENT: TraceContext = TraceContext { trace_id: [7; 16], span_id: [8; 8], flags: 1 };

    #[test]
    fn a_span_continues_the_trace_that_came_with_the_job() {
        let tracer = SdkTracerProvider::builder().build().tracer("test");
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        let found = tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("effects");
            continue_trace(&span, Some(PARENT));
            span.in_scope(|| current_trace(None))
        });
        let found = found.expect("the layer gives every span a context");
        assert_eq!((found.trace_id, found.flags), (PARENT.trace_id, PARENT.flags));
        assert_ne!(found.span_id, PARENT.span_id, "it is a span of its own");
    }

    #[test]
    fn without_the_layer_the_trace_is_passed_on() {
        let span = tracing::info_span!("effects");
        continue_trace(&span, Some(PARENT));
        assert_eq!(span.in_scope(|| current_trace(Some(PARENT))), Some(PARENT));
    }
}
