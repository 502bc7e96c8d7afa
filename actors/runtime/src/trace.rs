//! Traces from the first command to the last effect: the spans of the stages.
//!
//! The trace context travels in message headers and commit records. A command without one starts no trace and
//! costs nothing. Messages to NATS get the attributes of OpenTelemetry's messaging conventions.

use std::time::SystemTime;

use actors_core::Origin;
use bus_schemas::TraceContext;
use bus_schemas::record::{Command, Mail, Source, Turn};
use bus_schemas::subjects::Subjects;
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

/// Records a span below `parent` that ended just now. Returns its context, for spans that it caused.
pub fn stage(
    name: &'static str,
    kind: SpanKind,
    parent: TraceContext,
    started: SystemTime,
    attributes: Vec<KeyValue>,
) -> TraceContext {
    let builder =
        SpanBuilder::from_name(name).with_kind(kind).with_start_time(started).with_attributes(attributes);
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

/// Keeps a command for an entity in the trace and the correlation of the request that began the entity.
///
/// Another request may have caused the command, as when a slot that one task frees goes to another task. A
/// caller from outside keeps the correlation and trace that it sent, because the request is its own; if it
/// sent none, it gets those of the request that began the entity.
pub fn keep_origin(command: &mut Command, source: &Source, origin: Origin) {
    let id = |trace: Option<TraceContext>| trace.map(|trace| trace.trace_id);
    match source {
        Source::Mail(..) | Source::Timer(_) | Source::Lease(_) | Source::Claim => {
            command.correlation = origin.correlation;
            if id(command.trace) != id(origin.trace) {
                command.trace = origin.trace;
            }
        }
        Source::Ask | Source::Inbox(_) => {
            // A correlation equal to the command's id means that the caller sent none.
            if command.correlation == command.id {
                command.correlation = origin.correlation;
            }
            command.trace = command.trace.or(origin.trace);
        }
    }
}

/// The trace of the request that began an entity, at the span nearest to a command.
pub fn nearest(command: Option<TraceContext>, origin: Option<Origin>) -> Option<TraceContext> {
    let began = origin.and_then(|origin| origin.trace);
    let is_within = |trace: &TraceContext| began.is_none_or(|began| began.trace_id == trace.trace_id);
    command.filter(is_within).or(began)
}

/// Records the decision of a traced command, and makes it the parent of what the turn sends.
pub fn decided(turn: &mut Turn) {
    let Some(parent) = turn.command.trace else { return };
    let mut attributes = about(turn);
    attributes.push(KeyValue::new("events", count(turn.events.len())));
    if let Some(event) = turn.events.last() {
        attributes.push(KeyValue::new("revision", i64::try_from(event.revision.0).unwrap_or(i64::MAX)));
    }
    if let Some(refusal) = &turn.refusal {
        attributes.push(KeyValue::new("refusal", refusal.code.to_string()));
    }
    let decided = stage("decide", SpanKind::Internal, parent, SystemTime::now(), attributes);
    turn.command.trace = Some(decided);
    // A redriven command stays in the trace of its original.
    let ours = |mail: &&mut Mail| mail.command.trace.is_some_and(|trace| trace.trace_id == parent.trace_id);
    for mail in turn.sends.iter_mut().filter(ours) {
        mail.command.trace = Some(decided);
    }
}

/// Records the append to the log for every traced turn; `log` is the log's subject.
pub fn journaled(log: &str, turns: &[Turn], started: SystemTime) {
    for turn in turns {
        if let Some(trace) = turn.command.trace {
            let mut attributes = about(turn);
            attributes.extend(published(log.to_owned()));
            stage("journal", SpanKind::Producer, trace, started, attributes);
        }
    }
}

/// Records the publishing of events for every traced turn with events.
pub fn fanned_out(subjects: &Subjects, turns: &[Turn], started: SystemTime) {
    for turn in turns.iter().filter(|turn| !turn.events.is_empty()) {
        if let Some(trace) = turn.command.trace {
            let mut attributes = about(turn);
            attributes.extend(published(subjects.event(&turn.entity)));
            attributes.push(KeyValue::new("messaging.batch.message_count", count(turn.events.len())));
            stage("fanout", SpanKind::Producer, trace, started, attributes);
        }
    }
}

/// The attributes of a turn, for every span.
fn about(turn: &Turn) -> Vec<KeyValue> {
    vec![
        KeyValue::new("actor", turn.entity.to_string()),
        KeyValue::new("command_id", turn.command.id.to_string()),
        KeyValue::new("messaging.message.conversation_id", turn.command.correlation.to_string()),
    ]
}

/// The messaging attributes of a published message.
fn published(subject: String) -> [KeyValue; 4] {
    [
        KeyValue::new("messaging.system", "nats"),
        KeyValue::new("messaging.operation.name", "publish"),
        KeyValue::new("messaging.operation.type", "send"),
        KeyValue::new("messaging.destination.name", subject),
    ]
}

fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use bus_schemas::{Body, CommandId};

    use super::*;

    fn trace(number: u8) -> TraceContext {
        TraceContext { trace_id: [number; 16], span_id: [number; 8], flags: 1 }
    }

    fn kept(source: &Source, sent: Option<TraceContext>) -> (bool, Option<TraceContext>) {
        let (own, foreign) = (CommandId::from_text("own"), CommandId::from_text("foreign"));
        let mut command = Command {
            id: CommandId::from_text("id"),
            body: Body::default(),
            cause: None,
            correlation: foreign,
            trace: sent,
            caller: None,
            settles: false,
        };
        keep_origin(&mut command, source, Origin { correlation: own, trace: Some(trace(1)) });
        (command.correlation == own, command.trace)
    }

    #[test]
    fn what_another_request_leads_to_belongs_to_the_entitys_own() {
        let mail = Source::Mail(bus_schemas::PartitionId(3), 1);
        assert_eq!(kept(&mail, Some(trace(2))), (true, Some(trace(1))));
        assert_eq!(kept(&Source::Timer("lease".into()), None), (true, Some(trace(1))));
        let below = TraceContext { span_id: [9; 8], ..trace(1) };
        assert_eq!(kept(&mail, Some(below)), (true, Some(below)), "the nearer cause stays");
    }

    #[test]
    fn a_caller_from_outside_keeps_its_own_trace() {
        assert_eq!(kept(&Source::Ask, Some(trace(2))), (false, Some(trace(2))));
        assert_eq!(kept(&Source::Inbox(1), None), (false, Some(trace(1))));
    }

    #[test]
    fn a_caller_that_names_no_request_is_about_the_entitys_own() {
        let (own, id) = (CommandId::from_text("own"), CommandId::from_text("id"));
        for source in [Source::Ask, Source::Inbox(1)] {
            let (body, cause, caller) = (Body::default(), None, None);
            let mut command =
                Command { id, body, cause, correlation: id, trace: None, caller, settles: false };
            keep_origin(&mut command, &source, Origin { correlation: own, trace: None });
            assert_eq!(command.correlation, own, "{source:?}");
        }
    }

    #[test]
    fn what_is_sent_out_is_traced_to_the_request_that_began_it() {
        let origin = |trace| Some(Origin { correlation: CommandId::from_text("own"), trace });
        let below = TraceContext { span_id: [9; 8], ..trace(1) };
        assert_eq!(nearest(Some(below), origin(Some(trace(1)))), Some(below));
        assert_eq!(nearest(Some(trace(2)), origin(Some(trace(1)))), Some(trace(1)));
        assert_eq!(nearest(Some(trace(2)), origin(None)), Some(trace(2)));
        assert_eq!(nearest(None, None), None);
    }
}
