//! Bad input on every way in: who asks hears a code, what was handed over becomes a dead letter, and
//! the partition goes on.

mod agents;
mod asks;
mod hand_over;

use bus_schemas::{EntityAddress, Revision};
use system_tests::{accepted, probe, touch};

/// The largest command, as the protocol says.
const COMMAND_BYTES_MAX: usize = 256 * 1024;
/// A command that every probe takes.
const TOUCH: &str = r#"{"type":"touch"}"#;

/// Subjects behind the verb that name no entity, and that the server lets through.
fn bad_entities() -> Vec<String> {
    let long = "k".repeat(161);
    let kind = "k".repeat(33);
    [
        "probe",
        "probe.*",
        "probe.>",
        "probe.a.*",
        "probe.a$b",
        "probe.a/b",
        "probe.a:b",
        "probe.ä",
        "probe.a\u{7f}b",
        "probe.a\u{1}b",
        "*.a",
        "pr$be.a",
        &format!("probe.{long}"),
        &format!("{kind}.a"),
    ]
    .map(str::to_owned)
    .into()
}

/// A command of exactly so many bytes.
fn touch_of(bytes: usize) -> String {
    let around = r#"{"type":"touch","note":""}"#.len();
    format!(r#"{{"type":"touch","note":"{}"}}"#, "x".repeat(bytes - around))
}

/// Lists in lists.
fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

/// The partition of a probe goes on: a good command is applied, and is the `revision`th.
async fn goes_on(bus: &bus_client::Bus, key: &str, revision: u64) {
    assert_eq!(accepted(bus, &touch(key)).await, Revision(revision), "`{key}` goes on");
}

/// The types of an entity's events.
async fn events(bus: &bus_client::Bus, entity: &EntityAddress) -> Vec<String> {
    let events = bus.history(entity, Revision(0), 0).await.expect("the events");
    events.iter().map(|stored| stored.event.event_type.to_string()).collect()
}

/// A probe in the partition of another key.
fn neighbour(key: &str) -> String {
    let partition = probe(key).partition(8);
    let names = (0..).map(|number| format!("neighbour-{number}"));
    names.into_iter().find(|name| probe(name).partition(8) == partition).expect("eight partitions fill up")
}
