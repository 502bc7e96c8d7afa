//! Logs, traces and metrics: structured lines on stderr, OTLP where an endpoint is configured, and the
//! observer, which measures what no stage measures.

mod json;
mod metric;
pub(crate) mod observe;
pub(crate) mod recent;

use std::io::IsTerminal;
use std::sync::OnceLock;

use opentelemetry::global;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, reload};

use crate::config::Config;

/// The default filter, without `ORRERY_LOG`: our lifecycle, and the warnings of others.
const DEFAULT_FILTER: &str =
    "warn,actors_host=info,actors_runtime=info,actors_worker=info,gateway=info,orrery=info";

/// Sends the remaining spans when it is dropped.
#[derive(Debug, Default)]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take()
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "sending the last spans");
        }
    }
}

/// How the process logs.
#[derive(Debug, Default)]
pub struct Logs {
    /// One JSON object per line, with trace and correlation ids, instead of text.
    pub json: bool,
    /// A file instead of stderr.
    pub file: Option<std::fs::File>,
    /// The filter, as `tracing` directives; `ORRERY_LOG` overrides it. Default: the lifecycle of our own
    /// parts, and warnings of all others.
    pub filter: Option<&'static str>,
}

/// Changes the log filter.
struct Reload {
    /// The filter that the process was started with.
    started_with: &'static str,
    /// Whether the environment set the filter, so that nothing else changes it.
    fixed: bool,
    set: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>,
}

/// Set by the first [`init`] of the process.
static RELOAD: OnceLock<Reload> = OnceLock::new();

/// Sets the log filter; `None` restores the one that the process was started with. Nothing changes where
/// `ORRERY_LOG` is set, or where another subscriber is installed. The error says why the directives are
/// invalid.
pub(crate) fn log_by(directives: Option<&str>) -> Result<(), String> {
    let started_with = RELOAD.get().map_or(DEFAULT_FILTER, |reload| reload.started_with);
    let filter = EnvFilter::try_new(directives.unwrap_or(started_with)).map_err(|error| error.to_string())?;
    match RELOAD.get().filter(|reload| !reload.fixed) {
        Some(reload) => (reload.set)(filter).map_err(|error| error.to_string()),
        None => Ok(()),
    }
}

/// Installs logging and tracing for the process. A second call changes nothing.
pub fn init(config: &Config, logs: Logs) -> Guard {
    let started_with = logs.filter.unwrap_or(DEFAULT_FILTER);
    let wanted = std::env::var("ORRERY_LOG").ok().map(EnvFilter::try_new);
    let (filter, fixed, unreadable) = match wanted {
        Some(Ok(filter)) => (filter, true, None),
        Some(Err(error)) => (EnvFilter::new(started_with), false, Some(error)),
        None => (EnvFilter::new(started_with), false, None),
    };
    let (filter, handle) = reload::Layer::new(filter);
    let ansi = logs.file.is_none() && std::io::stderr().is_terminal();
    let writer = match logs.file {
        Some(file) => BoxMakeWriter::new(std::sync::Arc::new(file)),
        None => BoxMakeWriter::new(std::io::stderr),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = if logs.json {
        lines.fmt_fields(JsonFields::new()).event_format(json::Lines).boxed()
    } else {
        lines.with_ansi(ansi).compact().boxed()
    };
    let provider = config.otlp_endpoint.as_deref().and_then(provider);
    let traces = provider.as_ref().map(|provider| {
        global::set_tracer_provider(provider.clone());
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("orrery"))
            .with_filter(EnvFilter::new("info,h2=off,hyper=off,reqwest=off"))
    });
    let recent = recent::Recent.with_filter(EnvFilter::new("info,h2=off,hyper=off,reqwest=off"));
    // A test or an embedding program may have installed a subscriber.
    let installed =
        tracing_subscriber::registry().with(traces).with(recent).with(lines.with_filter(filter)).try_init();
    if installed.is_ok() {
        let set = Box::new(move |filter| handle.reload(filter));
        // Only one subscriber can be installed, so this is the first and only call.
        let _ = RELOAD.set(Reload { started_with, fixed, set });
    }
    if let Some(error) = unreadable {
        tracing::error!(%error, "ORRERY_LOG is no log filter; the default applies");
    }
    Guard { provider }
}

fn provider(endpoint: &str) -> Option<SdkTracerProvider> {
    let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .build();
    let exporter = exporter.inspect_err(|error| tracing::error!(%error, "traces are not sent")).ok()?;
    let resource = Resource::builder().with_service_name("orrery").build();
    Some(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
