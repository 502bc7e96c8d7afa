//! One root task is one trace: what an OTLP collector and the log files of a system see of it.
//!
//! Telemetry belongs to a process, so these tests are a program of their own and share it; each
//! looks for its own trace.

mod collector;
mod logs;
mod models;
mod tree;
mod waiting;

use std::sync::OnceLock;

use actors_host::Config;
use actors_host::telemetry::{self, Guard, Logs};
use bus_schemas::TraceContext;
use tempfile::TempDir;
use uuid::Uuid;

use collector::Collector;

/// The process's telemetry.
struct Telemetry {
    collector: Collector,
    logs: TempDir,
    /// Kept, since it would stop the export when dropped.
    _guard: Guard,
}

impl Telemetry {
    /// The file in which the log lines lie.
    fn log_file(&self) -> std::path::PathBuf {
        self.logs.path().join("orrery.log")
    }
}

fn telemetry() -> &'static Telemetry {
    static TELEMETRY: OnceLock<Telemetry> = OnceLock::new();
    TELEMETRY.get_or_init(|| {
        let collector = Collector::start();
        let logs = tempfile::tempdir().expect("a temporary directory");
        let file = std::fs::File::create(logs.path().join("orrery.log")).expect("a log file");
        let config = Config { otlp_endpoint: Some(collector.url.clone()), ..Config::default() };
        let guard = telemetry::init(&config, Logs { json: true, file: Some(file), filter: Some("info") });
        Telemetry { collector, logs, _guard: guard }
    })
}

/// Runs a test with the process's telemetry, which must be set up outside of any runtime.
fn run(test: impl AsyncFnOnce(&'static Telemetry)) {
    let telemetry = telemetry();
    let runtime = tokio::runtime::Runtime::new().expect("a process can start threads");
    runtime.block_on(test(telemetry));
}

/// A client's span that nobody has seen before.
fn client_span() -> TraceContext {
    let trace_id = *Uuid::now_v7().as_bytes();
    let mut span_id = [0; 8];
    span_id.copy_from_slice(&Uuid::now_v7().as_bytes()[8..]);
    TraceContext { trace_id, span_id, flags: 1 }
}
