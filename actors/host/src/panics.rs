//! Panics: one structured log line each, and a report in the data directory for unexpected ones.
//!
//! A panic in a decision is caught, and its command becomes a dead letter: the line names the command. Any
//! other panic is a fault of the program. Supervision contains it where it can; the report is for whoever
//! fixes it. The report holds no payloads, and the secrets among the settings are removed. See
//! `docs/guides/crash-reports.md`.

use std::backtrace::Backtrace;
use std::cell::Cell;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use actors_runtime::deciding::{self, Deciding};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::config::Config;
use crate::embedded::NATS_VERSION;
use crate::telemetry::recent;

/// The directory of the reports in the data directory.
pub(crate) const DIRECTORY: &str = "crash";
/// Reports that are kept; the oldest is removed first. A repeated fault must not fill the disk.
const REPORTS_MAX: usize = 20;
/// Bytes of a backtrace that are kept: some hundred frames.
const BACKTRACE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a message that are kept: a panic may repeat what it could not read.
const MESSAGE_BYTES_MAX: usize = 4 * 1024;

/// What a report says about the process.
static PROCESS: OnceLock<Mutex<Process>> = OnceLock::new();

thread_local! {
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

#[derive(Debug)]
struct Process {
    data_dir: PathBuf,
    profile: String,
    roles: Vec<&'static str>,
    partitions: u16,
    serving: Option<watch::Receiver<usize>>,
    secrets: Vec<String>,
}

/// Reports panics of this process this way from now on. A second call changes only what reports say about the
/// process.
pub fn install(config: &Config) {
    let roles = [("host", config.host), ("agents", config.agents)];
    let process = Process {
        data_dir: config.data_dir.clone(),
        profile: config.nats.profile.to_string(),
        roles: roles.into_iter().filter(|(_, runs)| *runs).map(|(role, _)| role).collect(),
        partitions: config.nats.partitions.get(),
        serving: None,
        secrets: config.secrets(),
    };
    match known() {
        Some(mut known) => *known = process,
        None => {
            // Two calls at once: either value is fine.
            let _ = PROCESS.set(Mutex::new(process));
            std::panic::set_hook(Box::new(tell));
        }
    }
}

/// Sets the number of partitions that reports show.
pub(crate) fn serving(serving: watch::Receiver<usize>) {
    if let Some(mut process) = known() {
        process.serving = Some(serving);
    }
}

/// The known state of the process. Nothing panics while it holds this lock, so waiting for it ends.
fn known() -> Option<MutexGuard<'static, Process>> {
    PROCESS.get().map(|process| process.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Reports a panic. Must not panic itself, and must not wait for locks that the thread may hold.
fn tell(info: &PanicHookInfo<'_>) {
    if TELLING.replace(true) {
        return;
    }
    let fault = Fault::of(info);
    match deciding::current() {
        Some(deciding) => fault.log_decision(&deciding),
        None => fault.log(fault.report().as_deref()),
    }
    TELLING.set(false);
}

/// A panic as text.
struct Fault {
    message: String,
    location: String,
    thread: String,
}

impl Fault {
    fn of(info: &PanicHookInfo<'_>) -> Self {
        let message = info.payload_as_str().unwrap_or("a value that is no text");
        let thread = std::thread::current();
        Self {
            message: without_secrets(bounded(message, MESSAGE_BYTES_MAX)),
            location: info.location().map(ToString::to_string).unwrap_or_default(),
            thread: thread.name().unwrap_or("unnamed").to_owned(),
        }
    }

    fn log_decision(&self, deciding: &Deciding) {
        let Self { message, location, thread } = self;
        let Deciding { entity, command, correlation, trace } = deciding;
        // The traceparent is version, trace, span and flags.
        let traceparent = trace.map(|trace| trace.to_traceparent());
        let trace_id = traceparent.as_deref().and_then(|text| text.split('-').nth(1));
        if !tracing::enabled!(tracing::Level::ERROR) {
            eprintln!("a decision of `{entity}` panicked at {location}: {message}");
            return;
        }
        tracing::error!(
            panic = message,
            location,
            thread,
            %entity,
            command_id = %command,
            correlation_id = %correlation,
            trace_id,
            "a decision panicked: its command becomes a dead letter"
        );
    }

    fn log(&self, report: Option<&Path>) {
        let Self { message, location, thread } = self;
        let report = report.map(|path| path.display().to_string());
        if !tracing::enabled!(tracing::Level::ERROR) {
            eprintln!("thread `{thread}` panicked at {location}: {message}");
            return;
        }
        tracing::error!(panic = message, location, thread, report, "panicked");
    }

    /// Writes the report; `None` when it cannot be written.
    fn report(&self) -> Option<PathBuf> {
        let process = known()?;
        if !process.data_dir.is_dir() {
            return None;
        }
        let at = bus_client::now().to_rfc3339();
        let (pid, serving) = (std::process::id(), process.serving.as_ref().map(|serving| *serving.borrow()));
        let mut report = json!({
            "format": 1,
            "at": at,
            "process": pid,
            "thread": self.thread,
            "message": self.message,
            "location": self.location,
            "versions": { "orrery": env!("CARGO_PKG_VERSION"), "nats_server": NATS_VERSION },
            "system": { "os": std::env::consts::OS, "architecture": std::env::consts::ARCH },
            "profile": process.profile,
            "roles": process.roles,
            "partitions": process.partitions,
            "partitions_served": serving,
            "spans": recent::spans(),
            "backtrace": bounded(&Backtrace::force_capture().to_string(), BACKTRACE_BYTES_MAX),
        });
        for secret in &process.secrets {
            hide(&mut report, secret);
        }
        let directory = process.data_dir.join(DIRECTORY);
        let text = serde_json::to_string_pretty(&report).ok()? + "\n";
        std::fs::create_dir_all(&directory).ok()?;
        make_room(&directory);
        write_new(&directory, &format!("{}-{pid}", at.replace(':', "-")), &text)
    }
}

/// Writes a report under its name, or under the next free one: two panics may share a millisecond.
fn write_new(directory: &Path, name: &str, text: &str) -> Option<PathBuf> {
    let names = std::iter::once(name.to_owned()).chain((1..REPORTS_MAX).map(|n| format!("{name}-{n}")));
    for name in names {
        let path = directory.join(format!("{name}.json"));
        match std::fs::File::create_new(&path) {
            Ok(mut file) => return file.write_all(text.as_bytes()).is_ok().then_some(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(_) => return None,
        }
    }
    None
}

/// Removes the oldest reports to make room for one more. Their names begin with their time.
fn make_room(directory: &Path) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut reports: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    reports.sort();
    let surplus = (reports.len() + 1).saturating_sub(REPORTS_MAX);
    for old in &reports[..surplus.min(reports.len())] {
        // Another process may have removed it.
        let _ = std::fs::remove_file(old);
    }
}

fn bounded(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

fn without_secrets(text: &str) -> String {
    let process = known();
    let secrets = process.as_ref().map_or(&[][..], |process| &process.secrets);
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
}

/// Removes a secret from every text in a report.
fn hide(value: &mut Value, secret: &str) {
    match value {
        Value::String(text) if text.contains(secret) => *text = text.replace(secret, "***"),
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, secret)),
        Value::Object(fields) => fields.values_mut().for_each(|field| hide(field, secret)),
        _ => {}
    }
}
