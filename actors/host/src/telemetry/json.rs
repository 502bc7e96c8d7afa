//! Log lines as flat JSON objects: the event's fields, those of the spans around it, and the ids that connect
//! the lines, spans and log records of one request.
//!
//! | field | what it is |
//! | --- | --- |
//! | `timestamp`, `level`, `target`, `message` | as always |
//! | `span` | the innermost span's name |
//! | `trace_id`, `span_id` | where the line stands in its trace, if there is one |
//! | `correlation_id` | what everything caused by one request shares, inside spans that know it |
//!
//! An inner span's field wins over an outer one's, and the event's own over both.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes events as JSON lines. Span fields must be formatted as JSON objects.
#[derive(Debug)]
pub(super) struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Map::new();
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        line.insert("timestamp".into(), time.into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("target".into(), event.metadata().target().into());
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            line.insert("span".into(), span.name().into());
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>();
            if let Some(Ok(Value::Object(fields))) = fields.map(|fields| serde_json::from_str(&fields.fields))
            {
                line.extend(fields);
            }
        }
        // The OpenTelemetry layer makes the event's span the current one.
        let current = Context::current();
        let span = current.span();
        if span.span_context().is_valid() {
            line.insert("trace_id".into(), span.span_context().trace_id().to_string().into());
            line.insert("span_id".into(), span.span_context().span_id().to_string().into());
        }
        event.record(&mut Fields(&mut line));
        let line = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

/// Collects an event's fields.
pub(super) struct Fields<'a>(pub(super) &'a mut Map<String, Value>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().into(), format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().into(), value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().into(), value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().into(), value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().into(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::format::JsonFields;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `work` logs.
    fn lines(work: impl FnOnce()) -> Vec<Value> {
        let written = Written::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(JsonFields::new())
            .event_format(Lines)
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let bytes = written.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_flat_and_names_its_request() {
        let lines = lines(|| {
            let outer =
                tracing::info_span!("gateway", correlation_id = "c-1", trace_id = "t-1", route = "/a");
            let _outer = outer.enter();
            let inner = tracing::info_span!("effects", route = "/b", attempt = 2);
            let _inner = inner.enter();
            tracing::warn!(attempt = 3, quoted = "a \"b\"\nc", "the work is to stop");
        });
        assert_eq!(lines.len(), 1, "a line break in a value is no line");
        let line = &lines[0];
        for (field, value) in [
            ("level", "WARN"),
            ("message", "the work is to stop"),
            ("span", "effects"),
            ("correlation_id", "c-1"),
            ("trace_id", "t-1"),
            ("route", "/b"),
            ("quoted", "a \"b\"\nc"),
        ] {
            assert_eq!(line[field], value, "{field} of {line}");
        }
        assert_eq!(line["attempt"], 3);
        assert!(line["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
    }

    #[test]
    fn a_line_outside_of_requests_has_no_ids() {
        let lines = lines(|| tracing::info!("up"));
        assert_eq!((&lines[0]["message"], lines[0].get("trace_id")), (&"up".into(), None));
    }
}
