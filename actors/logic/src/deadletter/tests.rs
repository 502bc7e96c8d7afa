//! Given, when, then for `deadletter`.

use actors_core::scenario::given;
use actors_core::{CommandId, Timestamp};
use bus_schemas::commands::deadletter::{Command, Entry};
use bus_schemas::events::deadletter::Event;

use super::DeadLetter;
use crate::testing::address;

fn entry() -> Entry {
    Entry {
        class: "poison".into(),
        reason: "the decision panicked".into(),
        kind: "probe".into(),
        key: "p".into(),
        command_id: CommandId::from_text("one"),
        correlation: CommandId::from_text("one"),
        traceparent: None,
        attempts: 1,
        at: Timestamp(7),
    }
}

#[test]
fn an_entry_is_recorded_once_and_never_replaced() {
    given::<DeadLetter>(&address("deadletter/d"), [])
        .when(Command::Record(entry()))
        .then([Event::Recorded { entry: entry() }])
        .when(Command::Record(entry()))
        .then([])
        .when(Command::Record(Entry { attempts: 2, ..entry() }))
        .then_refused("entry-exists");
}
