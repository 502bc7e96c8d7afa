//! A collector that keeps the spans it is sent, as OTLP over HTTP in protobuf.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use bus_schemas::TraceContext;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

type Spans = Arc<Mutex<Vec<Span>>>;

/// The collector of this process.
pub struct Collector {
    /// What to configure as the endpoint.
    pub url: String,
    spans: Spans,
}

/// One trace, as far as it has arrived.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Its spans by their id.
    pub spans: HashMap<Vec<u8>, Span>,
    /// The span that is not the system's: the client's.
    client: Vec<u8>,
}

impl Collector {
    /// Serves on a thread of its own, which lives as long as the process: the exporter sends from a
    /// thread of its own as well, and outlives every test.
    pub fn start() -> Self {
        let (spans, (tell, told)) = (Spans::default(), std::sync::mpsc::channel());
        let kept = spans.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a thread can have a runtime").block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                tell.send(listener.local_addr().expect("a bound address")).expect("somebody waits");
                let router = Router::new().route("/v1/traces", post(take)).with_state(kept);
                axum::serve(listener, router).await.expect("the collector serves");
            });
        });
        let address = told.recv().expect("the collector starts");
        Self { url: format!("http://{address}"), spans }
    }

    /// What has come of the client's trace.
    pub fn trace(&self, client: TraceContext) -> Trace {
        let spans = self.spans.lock().expect("no test panics with the lock");
        let own = spans.iter().filter(|span| span.trace_id == client.trace_id);
        let spans = own.map(|span| (span.span_id.clone(), span.clone())).collect();
        Trace { spans, client: client.span_id.to_vec() }
    }
}

async fn take(State(spans): State<Spans>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let sent = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let mut spans = spans.lock().expect("no test panics with the lock");
    spans.extend(sent.flat_map(|scope| scope.spans));
    StatusCode::OK
}

impl Trace {
    /// The spans of a stage, or of a name.
    pub fn named(&self, name: &str) -> Vec<&Span> {
        self.spans.values().filter(|span| span.name == name).collect()
    }
    /// The names from a span's parent up to the client's span; none while a span is missing.
    pub fn chain(&self, span: &Span) -> Option<Vec<String>> {
        let (mut names, mut parent) = (Vec::new(), &span.parent_span_id);
        while *parent != self.client {
            let span = self.spans.get(parent)?;
            names.push(span.name.clone());
            parent = &span.parent_span_id;
        }
        Some(names)
    }
    /// Whether every span leads to the client's.
    pub fn is_whole(&self) -> bool {
        !self.spans.is_empty() && self.spans.values().all(|span| self.chain(span).is_some())
    }
}

/// An attribute as text; empty where there is none.
pub fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        _ => String::new(),
    }
}
