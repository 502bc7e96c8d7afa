//! Actions are recorded, and quarantine begins and ends once.

use std::collections::BTreeMap;

use crate::testing::scenario::{Given, given};
use actors_core::Timestamp;
use bus_schemas::commands::healer::{Act, Action, Command};
use bus_schemas::events::healer::Event;

use super::Healer;
use crate::testing::address;

const AT: Timestamp = Timestamp(1_000_000);

fn healer(key: &str) -> Given<Healer> {
    given::<Healer>(&address(&format!("healer/{key}")), []).called_by("ada")
}

fn act() -> Act {
    Act {
        action: Action::Restart,
        subject: "agents/git".into(),
        reason: "it failed".into(),
        evidence: BTreeMap::new(),
        at: AT,
    }
}

fn quarantine(entity: &str) -> Command {
    Command::Quarantine { entity: address(entity), reason: "poison".into(), evidence: BTreeMap::new() }
}

fn release(entity: &str) -> Command {
    Command::Release { entity: address(entity), reason: "mended".into() }
}

fn quarantined(entity: &str) -> Event {
    Event::Quarantined {
        entity: address(entity),
        reason: "poison".into(),
        by: "ada".into(),
        evidence: BTreeMap::new(),
        at: AT,
    }
}

fn released(entity: &str) -> Event {
    Event::Released { entity: address(entity), reason: "mended".into(), by: "ada".into(), at: AT }
}

#[test]
fn what_was_done_is_noted_with_its_reason() {
    let given = healer("host-1").when(Command::Note(act())).then([Event::Acted(act())]);
    assert_eq!(given.state().acts[&Action::Restart], 1);
    let long = Act { reason: "x".repeat(5_000), ..act() };
    let given = given.when(Command::Note(long)).then_refused("invalid-note");
    let far = Act { at: actors_core::Timestamp::MAX.next(), ..act() };
    let given = given.when(Command::Note(far)).then_refused("invalid-note");
    // Texts from a host are kept, with hidden characters replaced.
    let evidence = |name: &str, value: &str| BTreeMap::from([(name.into(), value.to_owned())]);
    let odd = Act { reason: "a\u{1b}b\nc".into(), evidence: evidence("x\ny", "\u{202e}z"), ..act() };
    let shown = Act { reason: "a\u{fffd}b\nc".into(), evidence: evidence("x y", "\u{fffd}z"), ..act() };
    given.when(Command::Note(odd)).then([Event::Acted(shown)]);
}

#[test]
fn an_entity_is_quarantined_once_and_released_once() {
    let given = healer("quarantine").when(quarantine("probe/p")).then([quarantined("probe/p")]);
    let given = given.when(quarantine("probe/p")).then([]);
    let given = given.when(release("probe/q")).then_refused("not-quarantined");
    let given = given.when(release("probe/p")).then([released("probe/p")]);
    let given = given.when(release("probe/p")).then_refused("not-quarantined");
    given.when(quarantine("probe/p")).then([quarantined("probe/p")]);
}

#[test]
fn one_healer_knows_who_is_quarantined_and_it_is_never_a_healer() {
    healer("host-1").when(quarantine("probe/p")).then_refused("wrong-healer");
    healer("quarantine").when(quarantine("healer/quarantine")).then_refused("invalid-entity");
}
