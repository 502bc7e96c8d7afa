//! One trace from the first command to the last effect: spans of the stages.
//!
//! The context travels in message headers and in commit records. A command without one starts no
//! trace, and costs nothing.

use std::time::SystemTime;

use bus_schemas::TraceContext;
use bus_schemas::record::Turn;
use opentelemetry::trace::{
    Span, SpanBuilder, SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState,
    Tracer,
};
use opentelemetry::{Context, KeyValue, global};

/// The context of a remote span.
fn remote(trace: TraceContext) -> Context {
    let span = SpanContext::new(
        TraceId::from_bytes(trace.trace_id),
        SpanId::from_bytes(trace.span_id),
        TraceFlags::new(trace.flags),
        true,
        TraceState::default(),
    );
    Context::new().with_remote_span_context(span)
}

/// A span that ended just now, below `parent`; its context, for what it caused.
pub fn stage(
    name: &'static str,
    parent: TraceContext,
    started: SystemTime,
    attributes: Vec<KeyValue>,
) -> TraceContext {
    let builder = SpanBuilder::from_name(name)
        .with_kind(SpanKind::Internal)
        .with_start_time(started)
        .with_attributes(attributes);
    let mut span = global::tracer("orrery").build_with_context(builder, &remote(parent));
    span.end();
    let context = span.span_context();
    if !context.is_valid() {
        return parent;
    }
    TraceContext {
        trace_id: context.trace_id().to_bytes(),
        span_id: context.span_id().to_bytes(),
        flags: context.trace_flags().to_u8(),
    }
}

/// Notes the decision of a traced command, and makes it the cause of what the turn sends out.
pub fn decided(turn: &mut Turn) {
    let Some(parent) = turn.command.trace else { return };
    let decided = stage(
        "decide",
        parent,
        SystemTime::now(),
        vec![
            KeyValue::new("actor", turn.entity.to_string()),
            KeyValue::new("command_id", turn.command.id.to_string()),
            KeyValue::new("events", i64::try_from(turn.events.len()).unwrap_or(i64::MAX)),
        ],
    );
    turn.command.trace = Some(decided);
    for mail in &mut turn.sends {
        mail.command.trace = Some(decided);
    }
}

/// Notes a stage for every traced turn of a record.
pub fn record_stage(name: &'static str, turns: &[Turn], started: SystemTime) {
    for turn in turns {
        if let Some(trace) = turn.command.trace {
            stage(name, trace, started, vec![KeyValue::new("actor", turn.entity.to_string())]);
        }
    }
}
