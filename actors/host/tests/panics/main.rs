//! What a process leaves behind when it panics: a report that somebody can mend it by, and not one
//! more than a few.

use std::path::{Path, PathBuf};

use actors_host::{Config, panics};
use bus_client::NatsConfig;
use serde_json::Value;

fn reports(data_dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data_dir.join("crash")).into_iter().flatten();
    let mut reports: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    reports.sort();
    reports
}

/// Panics on a thread of its own.
fn panic_with(message: &str) {
    let message = message.to_owned();
    let thread = std::thread::Builder::new().name("doomed".to_owned());
    let ended = thread.spawn(move || std::panic::panic_any(message)).expect("a thread").join();
    assert!(ended.is_err(), "the thread panicked");
}

/// Goal: a fault can be mended by its report, and a report tells no secret. Method: panics with the
/// password of the settings in the message, more often than reports are kept.
#[test]
fn a_panic_leaves_a_report_without_secrets() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = Config {
        data_dir: directory.path().to_owned(),
        nats: NatsConfig { url: Some("nats://ada:hunter2@host:4222".into()), ..NatsConfig::default() },
        agents: false,
        ..Config::default()
    };
    panics::install(&config);
    panic_with("no answer from nats://ada:hunter2@host:4222");
    let written = reports(directory.path());
    assert_eq!(written.len(), 1, "{written:?}");
    let text = std::fs::read_to_string(&written[0]).expect("the report");
    assert!(!text.contains("hunter2"), "{text}");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["message"], "no answer from nats://ada:***@host:4222");
    assert_eq!((&report["thread"], &report["profile"]), (&"doomed".into(), &"durable".into()));
    assert_eq!(report["roles"], serde_json::json!(["host"]));
    assert!(report["location"].as_str().is_some_and(|place| place.contains("panics/main.rs")), "{text}");
    assert!(report["backtrace"].as_str().is_some_and(|trace| !trace.is_empty()), "{text}");
    assert!(report["versions"]["orrery"].is_string() && report["spans"].is_array(), "{text}");

    for number in 0..25 {
        panic_with(&format!("again {number}"));
    }
    let kept = reports(directory.path());
    assert!(kept.len() <= 20 && !kept.contains(&written[0]), "the oldest went first: {kept:?}");
    let last: Value =
        serde_json::from_slice(&std::fs::read(kept.last().expect("one")).expect("a report")).expect("JSON");
    assert!(last["message"].as_str().is_some_and(|message| message.starts_with("again ")), "{last}");
}
